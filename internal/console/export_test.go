package console

// StatusRowOf is statusRow, for the tests.
var StatusRowOf = statusRow
