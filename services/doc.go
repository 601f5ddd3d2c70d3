// Package services makes backing services, such as databases, and the accounts that apps have there.
//
// A service is an app: its instance, volume, limits, logs and restarts are those of the runner. What a database is, and how
// accounts are made in it, is in one declarative file for each kind (kinds/*.yml), which is read by Kind. This package
// has no code for any of them. A kind's commands run inside the service's own instance, as its administrator, and get what
// they need by their environment: no value becomes part of a command line.
//
// Invariant: which accounts there are to be follows from the State alone: those that the bindings of running releases name.
// An account's object is written before the service hears of the account, and is deleted after the service has forgotten
// it. So no account is ever unknown to the State, whichever process is killed. Making and revoking an account may be done
// again at any time.
package services
