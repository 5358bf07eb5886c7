// Package e2e drives the demo in a real browser.
//
// It has only tests: they build the deputy program, run `deputy demo` as a
// person would, and click through it in headless Chromium. With the environment
// variable DEPUTY_SCREENSHOTS=DIR they also save pictures of the pages there.
package e2e
