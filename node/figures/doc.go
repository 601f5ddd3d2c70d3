// Package figures presents the router's counts: requests per release and instance, and the comparison of a route's
// releases. It counts nothing itself, and reading has no side effects.
package figures
