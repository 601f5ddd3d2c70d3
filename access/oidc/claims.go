package oidc

import (
	"strings"

	"github.com/protoduction/micro/cloud"
)

// maxGroups is how many groups of a person count: a token of the log-in keeps them.
const maxGroups = 200

// userName makes a user's name of a claim: providers tell upper case from lower case, and micro does not.
func userName(claim string) cloud.UserName {
	return cloud.UserName(strings.ToLower(strings.TrimSpace(claim)))
}

// groupsOf reads the groups of a claim, which is a list or one name. What cannot be a group's name is left out.
func groupsOf(claim any) (groups []cloud.Subject) {
	var names []any
	switch v := claim.(type) {
	case []any:
		names = v
	case string:
		names = []any{v}
	}
	for _, n := range names {
		name, ok := n.(string)
		if !ok || len(groups) == maxGroups {
			continue
		}
		if subject, err := cloud.ParseSubject("oidc:" + name); err == nil {
			groups = append(groups, subject)
		}
	}
	return groups
}
