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
	Root      string    `json:"root,omitempty" doc:"Id of the root key that wraps it; left out if that was not written down"`
}

func dataKey(k keys.DataKeyStatus) dataKeyJSON {
	return dataKeyJSON{k.Pool, k.Version, k.Created, k.Newest, k.Records, k.Root}
}

// resealStep is how many records one request seals anew: a second's work at most.
const resealStep = 2000

type resealJSON struct {
	Resealed  int `json:"resealed" doc:"How many records this request sealed anew; 0: none is left"`
	Remaining int `json:"remaining" doc:"How many are left"`
}

type rewrapJSON struct {
	Rewrapped int `json:"rewrapped"`
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
	done, err := a.Keys.Reseal(c.ctx, c.caller, resealStep)
	if err != nil && done == 0 {
		return nil, err
	}
	list, err := a.Keys.DataKeys(c.ctx)
	out := resealJSON{Resealed: done}
	for _, k := range list {
		if !k.Newest {
			out.Remaining += k.Records
		}
	}
	return out, err
}

func (a *API) rewrap(c *call) (any, error) {
	done, err := a.Keys.Rewrap(c.ctx, c.caller)
	return rewrapJSON{done}, err
}
