package packaging

import _ "embed"

// Unit is the systemd unit, for a micro at Program.
//
//go:embed micro.service
var Unit string

// Program is where micro is installed.
const Program = "/usr/local/bin/micro"
