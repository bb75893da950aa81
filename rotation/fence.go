package rotation

import (
	"context"

	"rotator/xai"
)

// fencedKeys asks the fence before each call that changes something at xAI, which cannot check an epoch itself.
type fencedKeys struct {
	KeyAPI
	t *turn
}

func (f fencedKeys) CreateKey(ctx context.Context, team string, r xai.CreateRequest) (xai.CreatedKey, error) {
	if err := f.t.fence(); err != nil {
		return xai.CreatedKey{}, err
	}
	return f.KeyAPI.CreateKey(ctx, team, r)
}

func (f fencedKeys) UpdateKey(ctx context.Context, id string, u xai.KeyUpdate) (xai.Key, error) {
	if err := f.t.fence(); err != nil {
		return xai.Key{}, err
	}
	return f.KeyAPI.UpdateKey(ctx, id, u)
}

func (f fencedKeys) DeleteKey(ctx context.Context, id string) error {
	if err := f.t.fence(); err != nil {
		return err
	}
	return f.KeyAPI.DeleteKey(ctx, id)
}
