package rotation

import (
	"context"

	"rotator/internal/guard"
	"rotator/internal/secret"
	"rotator/xai"
)

// calls are a turn's calls to xAI. Each that changes something asks the guard first, since xAI cannot check an epoch
// itself, and has the transport ask it again right before the request leaves; each that takes long gives the turn's slot up.
type calls struct {
	to   Team
	t    *turn
	name string
}

// through returns the team of that name with all its calls made through the turn.
func (t *turn) through(name string, team Team) Team {
	c := calls{team, t, teamResource + name}
	return Team{ID: team.ID, Keys: c, About: c, Probe: c}
}

func (c calls) CreateKey(ctx context.Context, team string, r xai.CreateRequest) (xai.CreatedKey, error) {
	if err := c.t.guard(); err != nil {
		return xai.CreatedKey{}, err
	}
	defer c.t.patience(c.name)()
	return c.to.Keys.CreateKey(guard.With(ctx, c.t.guard), team, r)
}

func (c calls) UpdateKey(ctx context.Context, team, id string, u xai.KeyUpdate) (xai.Key, error) {
	if err := c.t.guard(); err != nil {
		return xai.Key{}, err
	}
	defer c.t.patience(c.name)()
	return c.to.Keys.UpdateKey(guard.With(ctx, c.t.guard), team, id, u)
}

func (c calls) DeleteKey(ctx context.Context, id string) error {
	if err := c.t.guard(); err != nil {
		return err
	}
	defer c.t.patience(c.name)()
	return c.to.Keys.DeleteKey(guard.With(ctx, c.t.guard), id)
}

func (c calls) ListKeys(ctx context.Context, team string) (xai.KeyList, error) {
	defer c.t.patience(c.name)()
	return c.to.Keys.ListKeys(ctx, team)
}

func (c calls) Propagation(ctx context.Context, id string) (xai.Propagation, error) {
	defer c.t.patience(c.name)()
	return c.to.Keys.Propagation(ctx, id)
}

func (c calls) Validate(ctx context.Context) (xai.ManagementKey, error) {
	defer c.t.patience(c.name)()
	return c.to.About.Validate(ctx)
}

func (c calls) Usage(ctx context.Context, team string, q xai.UsageQuery) (xai.Usage, error) {
	defer c.t.patience(c.name)()
	return c.to.About.Usage(ctx, team, q)
}

func (c calls) WhoAmI(ctx context.Context, key secret.Text) (xai.Identity, error) {
	defer c.t.patience(c.name)()
	return c.to.Probe.WhoAmI(ctx, key)
}

func (c calls) Models(ctx context.Context, key secret.Text) ([]string, error) {
	defer c.t.patience(c.name)()
	return c.to.Probe.Models(ctx, key)
}

func (c calls) Chat(ctx context.Context, key secret.Text, model string) error {
	defer c.t.patience(c.name)()
	return c.to.Probe.Chat(ctx, key, model)
}
