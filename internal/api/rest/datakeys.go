package rest

import (
	"time"

	"github.com/deputy-id/deputy/internal/keys"
)

type dataKeyJSON struct {
	Pool      string    `json:"pool" doc:"A workload pool, or userpool/ and the name of a user pool"`
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"createdAt"`
	Newest    bool      `json:"newest" doc:"New records are sealed with it"`
	Records   int       `json:"records" doc:"How many records are sealed with it now"`
	Root      string    `json:"root,omitempty" doc:"Id of the root key that wraps it, and # with its version if it has versions; left out if that was not written down"`
	Former    bool      `json:"formerRoot,omitempty" doc:"Another root key wraps it than the service was started with, or may: that one is needed until rewrapDataKeys is done"`
}

func dataKey(k keys.DataKeyStatus) dataKeyJSON {
	return dataKeyJSON{k.Pool, k.Version, k.Created, k.Newest, k.Records, k.Root, k.Former}
}

// How much one request does: a second's work at most, and at rewrapStep three
// questions to a root key's service for each.
const (
	resealStep = 2000
	rewrapStep = 20
)

type resealJSON struct {
	Resealed  int                `json:"resealed" doc:"How many records this request sealed anew; 0: none is left but broken ones"`
	Remaining int                `json:"remaining" doc:"How many are left, broken ones included"`
	Broken    []brokenRecordJSON `json:"broken,omitempty" doc:"Records that do not open, up to 100; each stays as it is, and keeps its pool's former data key"`
}

type brokenRecordJSON struct {
	In     string `json:"in" doc:"Table and column"`
	Pool   string `json:"pool" doc:"As in a data key"`
	Record string `json:"record" doc:"The row's id"`
}

type rewrapJSON struct {
	Rewrapped int `json:"rewrapped" doc:"How many data keys this request wrapped anew"`
	Remaining int `json:"remaining" doc:"How many are to be looked at yet; 0: the former root key is not needed any more"`
}

func (a *API) listDataKeys(c *call) (any, error) {
	list, err := a.Keys.DataKeys(c.ctx)
	return listOf(list, dataKey), err
}

func (a *API) rotateDataKeys(c *call) (any, error) {
	if err := a.Keys.RotateDataKeys(c.ctx, c.caller); err != nil {
		return nil, err
	}
	return a.listDataKeys(c)
}

func (a *API) reseal(c *call) (any, error) {
	got, err := a.Keys.Reseal(c.ctx, c.caller, resealStep)
	if err != nil && got.Done == 0 {
		return nil, err
	}
	out := resealJSON{Resealed: got.Done}
	for _, b := range got.Broken {
		out.Broken = append(out.Broken, brokenRecordJSON{b.Column, b.Pool, b.Record})
	}
	list, err := a.Keys.DataKeys(c.ctx)
	for _, k := range list {
		if !k.Newest {
			out.Remaining += k.Records
		}
	}
	return out, err
}

func (a *API) rewrap(c *call) (any, error) {
	done, left, err := a.Keys.Rewrap(c.ctx, c.caller, rewrapStep)
	return rewrapJSON{done, left}, err
}
