package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rotator/internal/api"
	"rotator/policies"
	"rotator/rotation/target"
	"rotator/xai"
)

// checkVerify tries the model that a policy's keys prove themselves with, with a key that consumers read: lists of models
// may still name one that is retired. It has no row where no target holds a key that may use the model, and none where
// the keys prove themselves in another way.
func (v view) checkVerify(ctx context.Context, policy *policies.Policy) []api.CheckRow {
	team := v.environment.teams[policy.Team]
	if team == nil || policy.Verify.Method != policies.MethodChat {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	model, subject := policy.Verify.Model, "model of "+policy.Name
	for _, t := range policy.Targets {
		s, ok := v.environment.Store(t.Store)
		if !ok {
			continue // told
		}
		value, err := s.Current(ctx, storeTarget(t))
		if err != nil || !target.LooksLikeKey(value) {
			continue // what is in targets is for others to judge
		}
		who, err := team.probe.WhoAmI(ctx, value.Trimmed())
		if err != nil && !errors.Is(err, xai.ErrNotOffered) || err == nil && !policies.Covers(who.ACLs, "api-key:model:"+model) {
			continue
		}
		switch err := team.probe.Chat(ctx, value.Trimmed(), model); {
		case xai.ProvesBad(err):
			continue
		case xai.ClassOf(err) == xai.ClassModel:
			return []api.CheckRow{checked(subject, fmt.Errorf("xAI does not offer the model %s: %w", model, err),
				"Name another model in verify.model, which key.acls must allow: no new key can prove itself with this one.")}
		case err != nil:
			return []api.CheckRow{warned(subject, fmt.Sprintf("the model %s could not be tried: %v", model, err), "")}
		}
		return []api.CheckRow{checked(subject, nil, "")}
	}
	return nil
}
