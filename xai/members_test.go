package xai_test

import (
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/xai"
	"rotator/xai/xaisim"
)

// A list by a member's management key shows that member's keys only, and keys tell whose they are.
func TestMembersLists(t *testing.T) {
	t.Parallel()
	for _, hide := range []bool{false, true} {
		b := newBench(t, xaisim.Options{HideFromMembers: hide})
		others, _ := b.sim.AddKey(team, "an admin's", "api-key:model:*")
		token := secret.New("xai-token-member")
		b.sim.AddManagementKey(token, xaisim.ManagementKey{Teams: []string{team}, Owner: "user-2", Member: true})
		m, _ := clients(t, b.clock, token, b.sim.Transport())
		expires := b.Now().Add(time.Hour)
		made, err := m.CreateKey(t.Context(), team, xai.CreateRequest{Name: "own", ACLs: []string{"api-key:model:*"}, Expires: expires})
		if err != nil || made.UserID != "user-2" {
			t.Errorf("made for %q, %v", made.UserID, err)
		}
		list, err := m.ListKeys(t.Context(), team)
		if err != nil || len(list.Keys) != 1 || list.Keys[0].ID != made.ID || list.Keys[0].UserID != "user-2" {
			t.Fatalf("listed %+v, %v", list.Keys, err)
		}
		if k := list.Keys[0]; !k.Created.Equal(b.Now()) || !k.Modified.Equal(b.Now()) || !k.Expires.Equal(expires) || k.Disabled || len(k.ACLs) != 1 {
			t.Errorf("%+v", k)
		}
		if k, err := m.Validate(t.Context()); err != nil || k.OwnerID != "user-2" {
			t.Errorf("owned by %q, %v", k.OwnerID, err)
		}
		_, err = m.Propagation(t.Context(), others)
		if (xai.ClassOf(err) == xai.ClassNotFound) != hide {
			t.Errorf("hidden %v: %v", hide, err)
		}
	}
}

// Whatever way a disabled key answers, and wherever, the client tells it from one that works.
func TestDisabledKeys(t *testing.T) {
	t.Parallel()
	for _, answers := range []bool{false, true} {
		b := newBench(t, xaisim.Options{WhoAmIAnswersDisabled: answers, DisableSpread: time.Minute, LateDisableWins: true, Clusters: []string{"one", "two"}})
		id, value := b.sim.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
		for _, off := range []bool{true, false} {
			k, err := b.m.UpdateKey(t.Context(), team, id, xai.KeyUpdate{Disabled: &off})
			if err != nil || k.Disabled != off {
				t.Errorf("%+v, %v", k, err)
			}
		}
		b.Advance(2 * time.Minute) // the second cluster has learnt of the disable after the enable
		refused, accepted := 0, 0
		for range 40 {
			who, err := b.i.WhoAmI(t.Context(), value)
			switch {
			case err == nil && !who.KeyDisabled:
				accepted++
			case answers && err == nil, !answers && xai.ClassOf(err) == xai.ClassKeyDisabled && xai.ProvesBad(err):
				refused++
			default:
				t.Errorf("%+v, %v", who, err)
			}
		}
		list, err := b.m.ListKeys(t.Context(), team)
		if err != nil || list.Keys[0].Disabled || refused == 0 || accepted == 0 {
			t.Errorf("listed %+v, %v; %d refused, %d accepted", list.Keys, err, refused, accepted)
		}
	}
}
