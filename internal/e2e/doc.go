// Package e2e drives Deputy in a real browser: the tutorial, the demo, and pages that need one.
//
// It has only tests: they follow docs/tutorial.md, and run `deputy demo` as a
// person would, and click through it in headless Chromium. With the environment
// variable DEPUTY_SCREENSHOTS=DIR they also save pictures of the pages there.
package e2e
