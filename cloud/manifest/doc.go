// Package manifest turns what lies in an app's folder into a cloud.PushSpec: micro.yml (or Cloud Foundry's
// manifest.yml, or Stackato's stackato.yml), Procfile and app.json.
//
// The invariant: nothing that a file asks for is dropped in silence. A key is carried out, or it is an
// error with its place: unknown, wrong, or known and not supported yet. Which of these a key is stands
// in one place, the tables of schema.go; carrying something out later changes its line there. All errors
// of all files are reported at once, in the order of the lines, because a person mends a file in one go.
//
// Parse is pure: bytes in, Manifest out. It accepts any bytes without panic and within bounded memory,
// aliases and substituted variables included, since a node may one day be handed the files of a stranger.
package manifest
