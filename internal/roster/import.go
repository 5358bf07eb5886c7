package roster

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/userpool"
)

// Outcome is what an import did with a row, or would do.
type Outcome string

// The outcomes.
const (
	Created   Outcome = "create"
	Updated   Outcome = "update"
	Unchanged Outcome = "unchanged"
	Refused   Outcome = "error"
)

// Line reports one row.
type Line struct {
	Line     int
	UserName string
	Outcome  Outcome
	Err      *fault.Error // why, for Refused
}

// Summary counts the outcomes.
type Summary struct{ Created, Updated, Unchanged, Refused int }

func (s *Summary) add(o Outcome) {
	switch o {
	case Created:
		s.Created++
	case Updated:
		s.Updated++
	case Unchanged:
		s.Unchanged++
	default:
		s.Refused++
	}
}

// importer is one import.
type importer struct {
	*Roster
	caller name.Caller
	pool   userpool.Pool
	dry    bool
	seen   map[string]int // LoginName to the line that has it
	groups map[string]bool
}

// Import adds the users that rows has and the pool lacks, and changes those that
// differ. What a row does not say stays as it is; groups that are not there are
// made. Passwords are for new users only: whoever is there already has his own.
// So the same file again changes nothing, and one that broke off is imported by
// importing it again. With dry nothing is changed, and the report says what
// would be. report gets every row, in order; an error of its own ends the import.
// An error says that the import did not come to its end.
func (r *Roster) Import(ctx context.Context, c name.Caller, pool userpool.Pool, rows Reader, dry bool, report func(Line) error) (Summary, error) {
	i := &importer{Roster: r, caller: c, pool: pool, dry: dry, seen: map[string]int{}, groups: map[string]bool{}}
	var sum Summary
	for n := 0; ; n++ {
		row, at, err := rows.Next()
		if errors.Is(err, io.EOF) {
			return sum, nil
		}
		if n == maxRows {
			err = broken("rows_too_many", "the file has more than %d users", maxRows)
		}
		line := Line{Line: at, UserName: name.Clip(row.UserName, 80)}
		if err == nil {
			line.Outcome, err = i.one(ctx, row, at)
		}
		var end *BrokenError
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return sum, ctx.Err()
		case !errors.As(err, &end) && (fault.As(err).Kind == fault.Internal || fault.As(err).Kind == fault.Unavailable):
			return sum, err
		default:
			line.Outcome, line.Err = Refused, fault.As(err)
		}
		sum.add(line.Outcome)
		if err := report(line); err != nil {
			return sum, err
		}
		if end != nil {
			return sum, end
		}
	}
}

// one takes one row.
func (i *importer) one(ctx context.Context, row Row, line int) (Outcome, error) {
	defer row.Password.Clear()
	defer row.TemporaryPassword.Clear()
	if err := name.Check("user", row.UserName); err != nil {
		return Refused, err
	}
	key := userpool.LoginName(row.UserName)
	if first, ok := i.seen[key]; ok {
		return Refused, fault.New(fault.Invalid, "user_repeated", "the user %q is on line %d already", name.Clip(row.UserName, 80), first).WithFix("keep one of the two")
	}
	i.seen[key] = line
	was, err := i.Store.UserByName(ctx, i.pool.Name, row.UserName)
	switch {
	case fault.Is(err, fault.NotFound):
		return Created, i.create(ctx, row)
	case err != nil:
		return Refused, err
	}
	return i.change(ctx, was, row)
}

// apply returns u with what the row says. In groups and attributes, the row names
// all that there are to be.
func (row Row) apply(u userpool.User) userpool.User {
	set := func(field *string, said *string) {
		if said != nil {
			*field = *said
		}
	}
	set(&u.DisplayName, row.DisplayName)
	set(&u.Phone, row.Phone)
	if row.Email != nil && *row.Email != u.Email {
		u.Email, u.EmailVerified = *row.Email, false // nobody has verified the new one, unless the row says so
	}
	if row.EmailVerified != nil {
		u.EmailVerified = *row.EmailVerified
	}
	if row.Attributes != nil {
		u.Attributes = row.Attributes
	}
	return u
}

func (i *importer) create(ctx context.Context, row Row) error {
	u := row.apply(userpool.User{UserName: row.UserName, Groups: row.Groups})
	pw := Password{Text: row.Password, Hash: row.PasswordHash}
	if !row.TemporaryPassword.Empty() {
		if !pw.Text.Empty() {
			pw.Hash = pw.Text // more than one, which withPassword refuses
		}
		pw.Text, pw.Temporary = row.TemporaryPassword, true
	}
	if err := u.Check(); err != nil {
		return err
	}
	if i.dry {
		if _, err := i.withPassword(ctx, i.pool, u, pw); err != nil {
			return err
		}
		return i.ensure(ctx, row.Groups)
	}
	if err := i.ensure(ctx, row.Groups); err != nil {
		return err
	}
	_, err := i.Create(ctx, i.caller, i.pool, u, pw)
	return err
}

func (i *importer) change(ctx context.Context, was userpool.User, row Row) (Outcome, error) {
	u := row.apply(was)
	if err := u.Check(); err != nil {
		return Refused, err
	}
	groups := slices.Compact(slices.Sorted(slices.Values(row.Groups)))
	fields := u.DisplayName != was.DisplayName || u.Phone != was.Phone || u.Email != was.Email || u.EmailVerified != was.EmailVerified || !maps.Equal(u.Attributes, was.Attributes)
	moved := row.Groups != nil && !slices.Equal(groups, was.Groups)
	if !fields && !moved {
		return Unchanged, nil
	}
	if err := i.ensure(ctx, groups); err != nil || i.dry {
		return Updated, err
	}
	if fields {
		if _, err := i.Update(ctx, i.caller, was, u); err != nil {
			return Refused, err
		}
	}
	if moved {
		if _, err := i.SetGroups(ctx, i.caller, u, groups); err != nil {
			return Refused, err
		}
	}
	return Updated, nil
}

// ensure makes the groups that are not there; when nothing may be changed, it
// checks that they could be.
func (i *importer) ensure(ctx context.Context, groups []string) error {
	if len(groups) > maxGroups {
		return fault.New(fault.Invalid, "groups_too_many", "the user is in %d groups", len(groups)).WithFix("give at most %d", maxGroups)
	}
	for _, groupName := range groups {
		if i.groups[groupName] {
			continue
		}
		g := userpool.Group{Pool: i.pool.Name, Name: groupName}
		if err := g.Check(); err != nil {
			return err
		}
		_, err := i.groupByName(ctx, i.pool.Name, groupName)
		if fault.Is(err, fault.NotFound) && !i.dry {
			_, err = i.CreateGroup(ctx, i.caller, g)
		}
		if err != nil && !fault.Is(err, fault.NotFound) && !fault.HasCode(err, "group_exists") {
			return err
		}
		i.groups[groupName] = true
	}
	return nil
}
