// Package lint holds the rules of this tree in tests: who may import whom, how large
// things may grow, what every export, test and page of the documentation owes its reader.
// There is nothing to import. A rule that is in the way is changed here, in the same
// commit as the code that needs it, so that the change is seen.
//
// What it does not promise: to judge whether a comment is true or a test is good.
package lint
