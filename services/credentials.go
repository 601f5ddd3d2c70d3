package services

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/protoduction/micro/cloud"
)

// credentials returns those of a new account of a kind. Users and passwords have letters, digits and _ only, so that any
// command can quote them.
func (k *Kind) credentials(service cloud.AppRef, client cloud.AppName, n int, password string) cloud.Credentials {
	c := cloud.Credentials{
		Host: string(service.App) + "." + string(service.Group) + ".internal", Port: k.Port,
		Database: fill(k.Database, map[string]string{"client": string(client)}, same),
	}
	if k.HasAccounts() {
		c.User, c.Password = userName(client, n), password
	}
	c = k.withMore(c, client)
	values := values(c)
	maps.Copy(values, c.More)
	values["client"] = string(client)
	c.URL = fill(k.URL, values, url.QueryEscape)
	for name, template := range k.Variables {
		if c.Variables == nil {
			c.Variables = map[string]string{}
		}
		c.Variables[name] = fill(template, values, same)
	}
	return c
}

// withMore returns credentials with those that are the kind's own.
func (k *Kind) withMore(c cloud.Credentials, client cloud.AppName) cloud.Credentials {
	values := values(c)
	values["client"] = string(client)
	c.More = nil
	for name, template := range k.More {
		if c.More == nil {
			c.More = map[string]string{}
		}
		c.More[name] = fill(template, values, same)
	}
	return c
}

func same(s string) string { return s }

// userName is the name of an account: the app's and a number, in 32 characters at most, as old MySQL allows.
func userName(client cloud.AppName, n int) string {
	name := strings.ReplaceAll(string(client), "-", "_")
	if len(name) > 20 {
		sum := sha256.Sum256([]byte(client))
		name = name[:13] + "_" + hex.EncodeToString(sum[:3])
	}
	return name + "_" + strconv.Itoa(n)
}

func values(c cloud.Credentials) map[string]string {
	return map[string]string{"url": c.URL, "user": c.User, "password": c.Password, "host": c.Host, "port": strconv.Itoa(c.Port), "database": c.Database}
}

// hashed returns the environment with a hash of the password, for servers that keep such ones in a file. The password is
// random and long, so that the cheapest hash keeps it as well as any.
func hashed(c cloud.Credentials) ([]string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(c.Password), bcrypt.MinCost)
	return append(environment(c), "SERVICE_BCRYPT="+string(hash)), err
}

// environment is what a kind's command gets of credentials: SERVICE_USER and so on.
func environment(c cloud.Credentials) (env []string) {
	all := values(c)
	maps.Copy(all, c.More)
	for name, v := range all {
		env = append(env, "SERVICE_"+strings.ToUpper(name)+"="+v)
	}
	return env
}

// parseURL reads the URL of an external service. Its parts are what such URLs have in common.
func (k *Kind) parseURL(text string) (cloud.Credentials, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Hostname() == "" {
		// The text has a password: no error may show it.
		return cloud.Credentials{}, cloud.Errorf(cloud.Invalid, "the URL is not of the form %s", k.URL)
	}
	c := cloud.Credentials{URL: text, Host: u.Hostname(), Port: k.Port, Database: strings.TrimPrefix(u.Path, "/")}
	if p := u.Port(); p != "" {
		if c.Port, err = strconv.Atoi(p); err != nil || c.Port < 1 || c.Port > 65535 {
			return c, cloud.Errorf(cloud.Invalid, "port %q of the URL is not between 1 and 65535", p)
		}
	}
	if u.User != nil {
		c.User = u.User.Username()
		c.Password, _ = u.User.Password()
	}
	return c, nil
}

// external returns the credentials that the release of an external service keeps in its environment.
func external(rel *cloud.Release) cloud.Credentials {
	env := rel.Spec.Env
	port, _ := strconv.Atoi(env["SERVICE_PORT"]) // written by Create
	return cloud.Credentials{
		URL: env["SERVICE_URL"], Host: env["SERVICE_HOST"], Port: port,
		User: env["SERVICE_USER"], Password: env["SERVICE_PASSWORD"], Database: env["SERVICE_DATABASE"],
	}
}
