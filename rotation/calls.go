package rotation

import (
	"context"
	"time"

	"rotator/internal/secret"
	"rotator/xai"
)

// calls are a turn's calls to xAI. One that takes long gives the turn's worker slot to another, and the Date of every
// authenticated answer is xAI's clock.
type calls struct {
	to    Team
	slow  func() (done func())
	dated func(time.Time)
	owner func(userID string) // hears whose a validated management key is
}

// begin is the beginning of a call; done is its end.
func (c calls) begin(ctx context.Context) (_ context.Context, done func()) {
	return xai.WithDate(ctx, c.dated), c.slow()
}

// team returns the team of that name, with all its calls made through the turn.
func (r *run) team(ctx context.Context, name string) (Team, error) {
	slow := func() func() { return r.slow(teamResource + name) }
	defer slow()() // it may ask xAI which id the team has
	team, err := r.env.Team(xai.WithDate(ctx, r.dated), name)
	if err != nil {
		return Team{}, err
	}
	c := calls{team, slow, r.dated, func(userID string) { r.owners[name] = userID }}
	return Team{ID: team.ID, Keys: c, About: c, Probe: c}, nil
}

func (c calls) CreateKey(ctx context.Context, team string, r xai.CreateRequest) (xai.CreatedKey, error) {
	ctx, done := c.begin(ctx)
	defer done()
	return c.to.Keys.CreateKey(ctx, team, r)
}

func (c calls) UpdateKey(ctx context.Context, team, id string, u xai.KeyUpdate) (xai.Key, error) {
	ctx, done := c.begin(ctx)
	defer done()
	return c.to.Keys.UpdateKey(ctx, team, id, u)
}

func (c calls) DeleteKey(ctx context.Context, id string) error {
	ctx, done := c.begin(ctx)
	defer done()
	return c.to.Keys.DeleteKey(ctx, id)
}

func (c calls) ListKeys(ctx context.Context, team string) (xai.KeyList, error) {
	ctx, done := c.begin(ctx)
	defer done()
	return c.to.Keys.ListKeys(ctx, team)
}

func (c calls) Propagation(ctx context.Context, id string) (xai.Propagation, error) {
	ctx, done := c.begin(ctx)
	defer done()
	return c.to.Keys.Propagation(ctx, id)
}

func (c calls) Validate(ctx context.Context) (xai.ManagementKey, error) {
	ctx, done := c.begin(ctx)
	defer done()
	mk, err := c.to.About.Validate(ctx)
	if err == nil {
		c.owner(mk.OwnerID)
	}
	return mk, err
}

func (c calls) Usage(ctx context.Context, team string, q xai.UsageQuery) (xai.Usage, error) {
	ctx, done := c.begin(ctx)
	defer done()
	return c.to.About.Usage(ctx, team, q)
}

func (c calls) Offered(ctx context.Context, team string) (xai.Offered, error) {
	ctx, done := c.begin(ctx)
	defer done()
	return c.to.About.Offered(ctx, team)
}

func (c calls) WhoAmI(ctx context.Context, key secret.Text) (xai.Identity, error) {
	ctx, done := c.begin(ctx)
	defer done()
	return c.to.Probe.WhoAmI(ctx, key)
}

func (c calls) Models(ctx context.Context, key secret.Text) ([]string, error) {
	ctx, done := c.begin(ctx)
	defer done()
	return c.to.Probe.Models(ctx, key)
}

func (c calls) Chat(ctx context.Context, key secret.Text, model string) error {
	ctx, done := c.begin(ctx)
	defer done()
	return c.to.Probe.Chat(ctx, key, model)
}
