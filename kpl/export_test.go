package kpl

var (
	JavaString   = javaString
	ParseInteger = parseInteger
)
