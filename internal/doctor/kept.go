package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/apiclient"
)

// keys tells whether a former root key is still needed, and what former data keys wait for.
func (s Service) keys(ctx context.Context, tell Report) error {
	e := examination{ctx, "keys", tell}
	all, err := s.API.DataKeys(ctx)
	if err != nil {
		return e.problem("the data keys cannot be read", err)
	}
	former, waiting := map[string]int{}, 0
	for _, k := range all {
		if k.Former {
			former[k.Root]++
		}
		if !k.Newest {
			waiting += k.Records
		}
	}
	for _, root := range slices.Sorted(maps.Keys(former)) {
		text := fmt.Sprintf("%d data keys are wrapped by %s, which is not the root key that the service was started with", former[root], root)
		if root == "" {
			text = fmt.Sprintf("%d data keys do not say which root key wraps them", former[root])
		}
		if err := e.warn(text, "run: deputy keys rotate --root; until that is done, the service needs the former root key at each start", ""); err != nil {
			return err
		}
	}
	if waiting > 0 {
		return e.tell(Finding{Area: e.area, State: Note, Text: fmt.Sprintf("%d records are sealed with former data keys", waiting),
			Fix: "nothing: the service seals them anew within the hour; deputy keys rotate does it now, and names those that do not open"})
	}
	if len(former) > 0 {
		return nil
	}
	return e.fine("one root key wraps all data keys, and the newest of these seal all records")
}

// maxGrants bounds how many grants of a pool are counted.
const maxGrants = 10_000

// grants tells how many grants wait for their users to authorize again, by provider.
func (s Service) grants(ctx context.Context, tell Report) error {
	e := examination{ctx, "grants", tell}
	pools, err := s.API.WorkloadPools(ctx)
	if err != nil {
		return e.problem("the workload pools cannot be read", err)
	}
	waiting := false
	for _, pool := range pools {
		by, n := map[string]int{}, 0
		for g, err := range s.API.Grants(ctx, pool.Name, apiclient.HeldFilter{State: "reauthorize"}) {
			if err != nil {
				return e.problem("the grants of "+pool.Name+" cannot be read", err)
			}
			by[g.Provider]++
			if n++; n == maxGrants {
				break
			}
		}
		if len(by) == 0 {
			continue
		}
		waiting = true
		var list []string
		for _, provider := range slices.Sorted(maps.Keys(by)) {
			list = append(list, fmt.Sprintf("%s (%d)", provider, by[provider]))
		}
		if err := e.warn("grants of "+pool.Name+" wait for their users to authorize again: "+strings.Join(list, ", "),
			"nothing, if they are few: each user is asked at his agent's next request; else see why with deputy grant list --pool "+pool.Name+" --state reauthorize", ""); err != nil {
			return err
		}
	}
	if waiting {
		return nil
	}
	return e.fine("no grant waits for its user to authorize again")
}
