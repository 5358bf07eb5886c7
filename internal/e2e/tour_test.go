package e2e_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// Documents of the sandbox: two of 张三's, one of 李四's. What is said about them
// must contain something that nobody could guess.
const (
	firstDocument  = "https://bytedance.larkoffice.com/docx/LddRdcWDro6GRdxOdzEck1DdnFd"
	firstFact      = "“云杉”"
	secondDocument = "https://bytedance.larkoffice.com/docx/VsP2dLnRgoC6kFxTzWmcAq9Hnje"
	secondFact     = "checkout"
	askFor         = "请为我总结这篇文档的内容："
	clearAll       = "清理我的身份凭据"
)

// The pages' switches between the languages.
const (
	chatLanguage = "#language"
	pageLanguage = "footer a[lang]"
)

// chat is a person's conversation with the agent in one tab.
type chat struct {
	tab
	turns int // messages since the page was loaded
}

// say sends a message and returns the selector of the answer to it.
func (c *chat) say(text string) (answer string) {
	c.t.Helper()
	c.do(write("#message", text+"\r"))
	return c.next()
}

// next is the selector of the answer to a message that is being sent.
// Messages and answers take turns.
func (c *chat) next() (answer string) {
	c.turns++
	return "#log > article[data-role=assistant]:nth-of-type(" + strconv.Itoa(2*c.turns) + ")"
}

// wants waits for the end of an answer, with the given outcome, and looks for
// words in it.
func (c *chat) wants(answer, outcome string, words ...string) {
	c.t.Helper()
	c.do(see(answer + "[data-state=done]"))
	if c.count(answer+"[data-outcome="+outcome+"]") != 1 {
		c.t.Errorf("the outcome is not %q\n%s", outcome, c.shown())
	}
	text := c.text(answer)
	for _, word := range words {
		if !strings.Contains(text, word) {
			c.t.Errorf("the answer lacks %q:\n%s", word, text)
		}
	}
}

// logIn fills in the login page of the user pool that the tab shows, and agrees
// on its consent page; both belong to the identity service. It ends in the chat.
// Where pose is set, pictures are taken if they are wanted.
func (c *chat) logIn(d *demo, user string, pose bool) {
	c.t.Helper()
	c.do(see("#password"))
	c.at(d.identity)
	if pose {
		c.shootBoth("login", pageLanguage)
	}
	c.do(write("#username", user), write("#password", d.passwords[user]), click("#submit"), see("#allow"))
	c.at(d.identity)
	if pose {
		c.shootBoth("consent-login", pageLanguage)
	}
	c.do(click("#allow"), see("#logout"))
	c.at(d.chat)
	c.turns = 0
}

// TestDemoInBrowser is the tour of the README, by the hands of two people.
func TestDemoInBrowser(t *testing.T) {
	zhangsan := &chat{tab: openBrowser(t, "zh-CN")}
	lisi := &chat{tab: openBrowser(t, "en-US")}
	d := startDemo(t)

	refusedBeforeLogin(t, d, zhangsan)
	answer, link := askedForAuthorization(t, d, zhangsan)
	strangerWithLink(t, d, lisi, link)
	authorizes(t, d, zhangsan, answer)
	asksAgain(t, d, zhangsan)
	leaves(t, d, zhangsan)

	zhangsan.problems.check(t)
	lisi.problems.check(t)
	d.stop(t)
}

// refusedBeforeLogin: a message of nobody gets an offer to log in, and is not
// lost by that.
func refusedBeforeLogin(t *testing.T, d *demo, c *chat) {
	c.problems.expect("401 /api/chat")
	c.do(chromedp.Navigate(d.chat), see("#login"))
	c.at(d.chat)
	c.shootBoth("welcome", chatLanguage)
	answer := c.say(askFor + firstDocument)
	c.wants(answer, "error", "登录")
	c.shootBoth("refused", chatLanguage)
	c.do(click(answer + ` a[href="/login"]`))
	c.logIn(d, "zhangsan", true)
	if draft := read(c.tab, chromedp.Value(chromedp.CSS("#message"))); draft != askFor+firstDocument {
		t.Errorf("after the login the box holds %q", draft)
	}
	if who := c.text("#who"); who != "张三" {
		t.Errorf("%q is logged in", who)
	}
}

// askedForAuthorization sends the message that waits in the box and returns the
// link that comes.
func askedForAuthorization(t *testing.T, d *demo, c *chat) (answer, link string) {
	answer = c.say("")
	c.do(see(answer + "[data-state=waiting] #authorize"))
	c.at(d.chat)
	link = read(c.tab, chromedp.JavascriptAttribute[string](chromedp.CSS("#authorize"), "href"))
	if !strings.HasPrefix(link, d.identity+"/authorize?request_uri=urn:") {
		t.Errorf("the link leads to %s", link)
	}
	c.shootBoth("authorize", chatLanguage)
	return answer, link
}

// strangerWithLink: somebody who is logged in as himself opens a link that was
// made for another.
func strangerWithLink(t *testing.T, d *demo, c *chat, link string) {
	c.problems.expect("403 /authorize")
	c.do(chromedp.Navigate(d.chat), click("#login"))
	c.logIn(d, "lisi", false)
	c.do(chromedp.Navigate(link), see(".mood.error"))
	c.at(d.identity)
	if title := c.text("h1"); title != "This link was made for somebody else" {
		t.Errorf("the page says %q", title)
	}
	if code := c.text(".code code"); code != "link_not_yours" {
		t.Errorf("the page's code is %q", code)
	}
	c.shootBoth("not-yours", pageLanguage)
}

// authorizes: the person clicks the link, agrees in the new tab, and the answer
// goes on in the old one with no further click.
func authorizes(t *testing.T, d *demo, c *chat, answer string) {
	page := c.newTab(click("#authorize"))
	page.do(see("#login #password"))
	page.at(d.sandbox)
	page.shoot("sandbox-login")
	page.do(write("#login #username", "zhangsan"), write("#login #password", "sandbox"), click("#login button"), see("#consent"))
	page.at(d.sandbox)
	page.shoot("consent")
	page.do(click(`#consent button[value="allow"]`), see(".mood.ok"))
	page.at(d.identity)
	if title := page.text("h1"); title != "授权成功" {
		t.Errorf("the page says %q", title)
	}
	if location := read(page, chromedp.Location()); strings.Contains(location, "code=") {
		t.Errorf("the third party's code stays in the address bar: %s", location)
	}
	page.shootBoth("authorized", pageLanguage)
	page.close(c.tab)

	c.wants(answer, "ok", firstFact)
	if n := c.count(answer + " .settled.good"); n != 1 {
		t.Errorf("the answer shows %d times that it was authorized", n)
	}
	c.shootBoth("answer", chatLanguage)
}

// asksAgain: what was given once serves until it is taken back.
func asksAgain(t *testing.T, d *demo, c *chat) {
	second := c.say(askFor + secondDocument)
	c.wants(second, "ok", secondFact)
	if n := c.count(second + " :is(.card, .settled)"); n != 0 {
		t.Errorf("the second document asked for something:\n%s", c.shown())
	}
	c.wants(c.say(clearAll), "ok", "已清理")
	third := c.say(askFor + firstDocument)
	c.do(see(third + "[data-state=waiting] #authorize"))

	// This time the answer is no. The sandbox remembers who is logged in.
	page := c.newTab(click("#authorize"))
	page.do(click(`#consent button[value="deny"]`), see(".mood.warning"))
	page.at(d.identity)
	if why := page.text(".mood ~ p"); why != "你没有同意授权。" {
		t.Errorf("the page says %q", why)
	}
	page.shootBoth("denied", pageLanguage)
	page.close(c.tab)
	c.wants(third, "ok", "没有同意授权")
	c.shoot("answer-denied")
}

// leaves: logging out ends the session at the chat and at the identity service.
func leaves(t *testing.T, d *demo, c *chat) {
	c.do(click("#logout"), see("#login"))
	c.at(d.chat)
	c.shoot("logged-out")
	c.do(click("#login"), see("#password"))
	c.at(d.identity)
}
