package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rotator/internal/api"
	"rotator/internal/secret"
	"rotator/rotation/inventory"
	"rotator/rotation/journal"
	"rotator/xai"
)

// Identify implements api.Actions. A value is compared by its fingerprint, and asks xAI itself who it is; it is then let go.
func (p actions) Identify(ctx context.Context, q api.IdentifyRequest) ([]api.IdentityRow, error) {
	v := p.present()
	if value := secret.New(q.Value).Trimmed(); strings.HasPrefix(value.Reveal(), "xai-token-") {
		return []api.IdentityRow{v.identifyManagementKey(ctx, value)}, nil
	}
	row := api.IdentityRow{Holders: []string{}, Works: api.WorksNotKnown}
	id, detail := q.KeyID, ""
	prints := []string{q.Fingerprint}
	if q.Value != "" {
		value := secret.New(q.Value).Trimmed()
		prints[0] = string(value.Fingerprint())
		var who xai.Identity
		who, row.Works, detail = v.whoIs(ctx, value)
		id, row.Name, row.Created = who.KeyID, optional(who.Name), instant(who.Created)
	}
	known, err := p.knownBy(ctx, id, prints)
	if err != nil {
		return nil, err
	}
	if known != nil {
		id = known.ID
		row.Name, row.Policy, row.Team, row.State, row.Created = optional(known.Name), optional(known.Policy), optional(known.Team), optional(string(known.State)), instant(known.CreatedAt)
	}
	row.KeyID = optional(id)
	if err := p.holders(ctx, &row, prints); err != nil {
		return nil, err
	}
	if more := p.listed(ctx, v, &row); more != "" {
		detail = strings.TrimPrefix(detail+"; "+more, "; ")
	}
	row.Detail, row.Do = optional(detail), optional(adviceOn(row))
	return []api.IdentityRow{row}, nil
}

// knownBy is the journal's key of that id or fingerprint, nil if it has none. The newest counts, should two have one fingerprint.
func (p actions) knownBy(ctx context.Context, id string, prints []string) (*journal.Key, error) {
	if id != "" {
		k, err := p.journal.Key(ctx, id)
		if err == nil || !errors.Is(err, journal.ErrNotFound) {
			return &k, err
		}
	}
	found, err := p.journal.KeysByFingerprint(ctx, prints)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[len(found)-1], nil
}

// holders notes which targets were seen to hold the key; where the journal has only these, they also say its id.
func (p actions) holders(ctx context.Context, row *api.IdentityRow, prints []string) error {
	seen, err := p.journal.SightingsOf(ctx, deref(row.KeyID), prints[0])
	if err != nil {
		return err
	}
	for _, s := range seen {
		row.Holders = append(row.Holders, s.TargetID.String())
		if row.KeyID == nil {
			row.KeyID = optional(s.KeyID)
		}
	}
	slices.Sort(row.Holders)
	row.Holders = slices.Compact(row.Holders)
	return nil
}

// whoIs asks xAI with the key itself.
func (v view) whoIs(ctx context.Context, value secret.Text) (who xai.Identity, works, detail string) {
	for _, name := range v.environment.names {
		t := v.environment.teams[name]
		if t == nil {
			continue
		}
		who, err := t.probe.WhoAmI(ctx, value) // one address serves all teams
		switch class := xai.ClassOf(err); {
		case err == nil && (who.KeyDisabled || who.KeyBlocked || who.TeamBlocked):
			return who, api.KeyWorksNot, "it is disabled or blocked"
		case err == nil:
			return who, api.KeyWorks, ""
		case class == xai.ClassKeyUnknown:
			return who, api.KeyWorksNot, "xAI does not know it: it was deleted, or never was a key"
		case class == xai.ClassKeyDisabled:
			return who, api.KeyWorksNot, "it is disabled"
		default:
			return who, api.WorksNotKnown, "xAI could not be asked with it: " + err.Error()
		}
	}
	return who, api.WorksNotKnown, "no team is configured to ask xAI through"
}

// listed looks for the key in the teams' lists, and notes what they say of it. It returns what went wrong.
func (p actions) listed(ctx context.Context, v view, row *api.IdentityRow) string {
	if row.KeyID == nil {
		return ""
	}
	var failed []string
	lists := newKeyLists(v)
	for _, name := range v.environment.names {
		if row.Team != nil && *row.Team != name {
			continue
		}
		k, err := lists.key(ctx, name, *row.KeyID)
		switch {
		case err != nil:
			failed = append(failed, fmt.Sprintf("team %s could not be asked: %v", name, err))
		case k != nil:
			row.Team, row.Name, row.Created = &name, optional(k.Name), instant(k.Created)
			if row.Works == api.WorksNotKnown && k.Disabled {
				row.Works = api.KeyWorksNot
			}
			return ""
		}
	}
	return strings.Join(failed, "; ")
}

// identifyManagementKey says whether a value is the management key of a team here.
func (v view) identifyManagementKey(ctx context.Context, value secret.Text) api.IdentityRow {
	row := api.IdentityRow{Holders: []string{}, Works: api.WorksNotKnown}
	for _, name := range v.environment.names {
		held, err := v.Config.Teams[name].ManagementKey.Read(ctx)
		if err == nil && held.Trimmed().Equal(value) {
			row.Team = &name
			row.Detail = optional("it is the management key of team " + name + ", which can make, read and delete every key of the team")
			row.Do = optional("Make a new management key in xAI's console, put it where teams." + name + ".management_key refers to, delete this one there, and have every key of the team replaced: `rotator keys " + name + "` lists them.")
			return row
		}
	}
	row.Detail = optional("it has the form of a management key, and is none that this configuration uses")
	row.Do = optional("Find it in xAI's console by its last characters, and delete it there.")
	return row
}

// adviceOn says what to do about a key that others know.
func adviceOn(row api.IdentityRow) string {
	switch {
	case row.Works == api.KeyWorksNot:
		return ""
	case row.Policy != nil && deref(row.State) == string(journal.ForgottenKey):
		return "The rotator let go of it. Disable or delete it in xAI's console."
	case row.Policy != nil:
		return "If others know it: `rotator rotate " + *row.Policy + " --compromised --why W` replaces it; `rotator revoke " + *row.KeyID + " --accept-outage --why W` turns it off now."
	case row.KeyID == nil:
		return "Nobody here knows it. If it works, find it in xAI's console by its last characters."
	case strings.HasPrefix(deref(row.Name), inventory.Prefix):
		return "A Rotator made it, and this journal does not know it: `rotator keys adopt` takes it over."
	}
	return "It is not managed here. Disable or delete it in xAI's console, after asking whoever made it."
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
