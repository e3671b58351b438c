// Package deadletter keeps dead letters in places that are not streams: a file here, objects
// of S3 in package s3letters below it. Each place is a [bridge.DeadLetters] that can be
// searched after a crash.
//
// What it does not promise: that a place is read by one workflow only. Each letter names
// its own, with a tag that no other can make, and those of others are left alone.
package deadletter
