#!/bin/sh
# As the official image does: own the data, then stop being root.
set -e
if [ "${1#-}" != "$1" ] || [ "${1%.conf}" != "$1" ]; then
	set -- redis-server "$@"
fi
if [ "$1" = redis-server ]; then
	# A container's clients come over the network; who may reach it is the network's matter.
	set -- "$@" --protected-mode no
	if [ "$(id -u)" = 0 ]; then
		find . \! -user redis -exec chown redis:redis '{}' +
		exec gosu redis "$0" "$@"
	fi
fi
exec "$@"
