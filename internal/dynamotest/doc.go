// Package dynamotest is a DynamoDB in the test's process, on a real socket: as much of it
// as this module uses, and no kinder than the service. Conditions are evaluated and not
// guessed, reads are paged, an update of an attribute that is not there follows the
// service's rules, and calls can be made to fail before or after they took effect.
package dynamotest
