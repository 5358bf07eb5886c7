package browser

// Mood is how a notice looks.
type Mood string

// The moods. The zero Mood is neutral.
const (
	OK      Mood = "ok"
	Warning Mood = "warning"
	Failure Mood = "error"
)

// Brand is whose page it is, such as a user pool's.
type Brand struct {
	Name  string // "" is Deputy
	Style string // path of a stylesheet that changes the colours; may be empty
	Logo  string // path of an image; empty is Deputy's
}

// Notice is a page that tells something: an error, a success, that a link was
// made for somebody else.
type Notice struct {
	Brand  Brand // whose page it is; the zero Brand is Deputy's
	Mood   Mood
	Title  Text
	Text   Text
	Detail Text   // what to do, or what else is known; may be empty
	Key    string // a code to be typed elsewhere, shown large; may be empty
	Facts  []Fact // what came, what is allowed
	Links  []Link // at most two; the first is the main one
	Code   string // stable error code, shown small; may be empty
}

// Fact is a labelled value, shown to be read exactly and copied.
type Fact struct {
	Label  Text
	Values []string
}

// Link leads on from a notice. URLs that are not http(s) or relative are not rendered.
type Link struct {
	Label Text
	URL   string
}

func (n Notice) frame() frame { return frame{kind: "notice", title: n.Title, brand: n.Brand} }

// Decision is a page on which a person allows or denies. The form has the
// hidden inputs and a submit button named "decision" with the value "allow"
// (#allow) or "deny" (#deny).
type Decision struct {
	Brand   Brand
	Title   Text   // "Allow access?"
	Who     string // who asks, in his own words: shown apart, as a name only
	Text    Text   // what it is about
	Items   []Item // what is asked for, in words
	Facts   []Fact // what is known about who asks
	Note    Text   // under the items: who the person is logged in as, what happens next; may be empty
	Action  string // where the form is sent, by POST
	Hidden  []Hidden
	Allow   Text     // label; empty is "Allow"
	Deny    Text     // label; empty is "Deny"
	Targets []string // addresses outside the site to which the answer may redirect; see [Headers]
}

// Item is one thing that is asked for.
type Item struct {
	Title  Text
	Detail string // its technical name, such as the scope; may be empty
}

// Hidden is a hidden input.
type Hidden struct{ Name, Value string }

func (d Decision) frame() frame {
	return frame{kind: "decision", title: d.Title, brand: d.Brand, targets: d.Targets}
}

// AllowLabel returns the label of the allow button.
func (d Decision) AllowLabel() Text { return orText(d.Allow, Text{"Allow", "允许"}) }

// DenyLabel returns the label of the deny button.
func (d Decision) DenyLabel() Text { return orText(d.Deny, Text{"Deny", "拒绝"}) }

func orText(t, otherwise Text) Text {
	if t.IsZero() {
		return otherwise
	}
	return t
}

// Form is a page with inputs, such as a login. The submit button is #submit.
type Form struct {
	Brand   Brand
	Title   Text
	Text    Text // may be empty
	Error   Text // what was wrong with the last submission; may be empty
	Inputs  []Input
	Submit  Text
	Action  string // where the form is sent, by POST
	Hidden  []Hidden
	Targets []string // addresses outside the site to which the answer may redirect; see [Headers]
	Again   string   // path that shows this form by GET: for the language switch, when the page answers a POST
	Drawing Drawing  // shown over the inputs, such as a QR code; the zero Drawing is none
	Facts   []Fact   // shown over the inputs
	Others  []Other  // buttons that send the form elsewhere
	Choices []Link   // other ways to the same end, shown as buttons under the form
	Links   []Link   // where else a person may want to go, shown small
}

// Input is one line to fill in; its name is its id too.
type Input struct {
	Name         string
	Label        Text
	Type         string // "text", "password", …
	Autocomplete string // HTML autofill token: "username", "current-password"
	Value        string // filled in already; never a password
	Autofocus    bool
	Optional     bool
	Hint         Text   // what to fill in; may be empty
	Mode         string // HTML inputmode, such as "numeric"; may be empty
}

// Other is a button that sends a form to another path, by POST, whatever the
// inputs have: another way to the same end that has to be begun.
type Other struct {
	Name  string // its id
	Label Text
	Path  string
}

// Drawing is a picture of dark squares, drawn in the page itself: it has no
// address that a log could keep.
type Drawing struct {
	Label Text   // what it is, for those who do not see it
	Side  int    // its width and height in squares; 0: no drawing
	Path  string // SVG path data
}

func (f Form) frame() frame {
	return frame{kind: "form", title: f.Title, brand: f.Brand, targets: f.Targets, again: f.Again}
}

// List is a page of things that a person has, each with what he can do to it.
type List struct {
	Brand    Brand
	Title    Text
	Text     Text // may be empty
	Alert    Text // what just went wrong; may be empty
	Said     Text // what just went well; may be empty
	Sections []Section
	Links    []Link
	Targets  []string // addresses outside the site to which an answer may redirect; see [Headers]
}

// Section is a part of a [List].
type Section struct {
	Title Text
	Text  Text // may be empty
	Rows  []Row
	Empty Text   // shown where there are no rows
	Links []Link // what to do besides, such as to add one
}

// Row is one thing.
type Row struct {
	Title   Text
	Mark    Text   // what is special about it, such as "this browser"; may be empty
	Mood    Mood   // of the mark; the zero Mood is that of [OK]
	Details []Text // small lines under the title
	Links   []Link // to pages about it
	Actions []Action
}

// Action is a button that acts, by POST.
type Action struct {
	Label  Text
	Path   string
	Hidden []Hidden
	Danger bool // it takes something away
}

func (l List) frame() frame {
	return frame{kind: "list", title: l.Title, brand: l.Brand, targets: l.Targets}
}

// Passkey is a page on which the browser asks an authenticator to make a passkey
// or to answer by one. Its script is a file of this site's. The form is #passkey, the button that asks (again) #ask.
type Passkey struct {
	Brand   Brand
	Title   Text
	Text    Text
	Error   Text    // what was wrong with the last answer; may be empty
	Inputs  []Input // sent along; if there are any, the browser asks at the button only
	Create  bool    // make one, rather than answer by one
	Options string  // PublicKeyCredentialCreationOptionsJSON or …RequestOptionsJSON
	Ask     Text    // label of the button
	Action  string  // where the answer is sent, by POST, in the input "credential"
	Hidden  []Hidden
	Targets []string
	Again   string
	Links   []Link
}

func (p Passkey) frame() frame {
	return frame{kind: "passkey", title: p.Title, brand: p.Brand, targets: p.Targets, again: p.Again, script: true}
}

// Talk is a page on which a person talks to an agent. Its script sends what he
// says as JSON, and shows the answer as it comes: events of the Agent Development
// Kit, or JSON. The conversation is #said, the form #say.
type Talk struct {
	Title  Text
	Who    Text     // who is logged in
	Action string   // where messages are sent, by POST
	Links  string   // the origin to which links of the agent may lead
	Again  string   // path of this page
	Logout string   // where the person logs out, by POST
	Hidden []Hidden // inputs of that
}

func (t Talk) frame() frame { return frame{kind: "talk", title: t.Title, script: true} }
