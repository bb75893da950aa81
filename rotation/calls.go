package rotation

import (
	"context"

	"rotator/internal/secret"
	"rotator/xai"
)

// calls are a turn's calls to xAI. One that takes long gives the turn's worker slot to another.
type calls struct {
	to   Team
	slow func() (done func())
}

// team returns the team of that name, with all its calls made through the turn.
func (r *run) team(ctx context.Context, name string) (Team, error) {
	slow := func() func() { return r.slow(teamResource + name) }
	defer slow()() // it may ask xAI which id the team has
	team, err := r.env.Team(ctx, name)
	if err != nil {
		return Team{}, err
	}
	c := calls{team, slow}
	return Team{ID: team.ID, Keys: c, About: c, Probe: c}, nil
}

func (c calls) CreateKey(ctx context.Context, team string, r xai.CreateRequest) (xai.CreatedKey, error) {
	defer c.slow()()
	return c.to.Keys.CreateKey(ctx, team, r)
}

func (c calls) UpdateKey(ctx context.Context, team, id string, u xai.KeyUpdate) (xai.Key, error) {
	defer c.slow()()
	return c.to.Keys.UpdateKey(ctx, team, id, u)
}

func (c calls) DeleteKey(ctx context.Context, id string) error {
	defer c.slow()()
	return c.to.Keys.DeleteKey(ctx, id)
}

func (c calls) ListKeys(ctx context.Context, team string) (xai.KeyList, error) {
	defer c.slow()()
	return c.to.Keys.ListKeys(ctx, team)
}

func (c calls) Propagation(ctx context.Context, id string) (xai.Propagation, error) {
	defer c.slow()()
	return c.to.Keys.Propagation(ctx, id)
}

func (c calls) Validate(ctx context.Context) (xai.ManagementKey, error) {
	defer c.slow()()
	return c.to.About.Validate(ctx)
}

func (c calls) Usage(ctx context.Context, team string, q xai.UsageQuery) (xai.Usage, error) {
	defer c.slow()()
	return c.to.About.Usage(ctx, team, q)
}

func (c calls) WhoAmI(ctx context.Context, key secret.Text) (xai.Identity, error) {
	defer c.slow()()
	return c.to.Probe.WhoAmI(ctx, key)
}

func (c calls) Models(ctx context.Context, key secret.Text) ([]string, error) {
	defer c.slow()()
	return c.to.Probe.Models(ctx, key)
}

func (c calls) Chat(ctx context.Context, key secret.Text, model string) error {
	defer c.slow()()
	return c.to.Probe.Chat(ctx, key, model)
}
