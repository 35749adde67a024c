# Shell functions that the demo and the tests share; source it from bash.
#
# Servers run as an ordinary user: as ourselves, or, when we are root, as "postgres" or "nobody".
# Nothing of an installed PostgreSQL is changed: promgres is installed into a private copy of it.

PG_CONFIG=${PG_CONFIG:-pg_config}

if [ "$(id -u)" != 0 ]
then
	server_user=$(id -un)
elif id -u postgres >/dev/null 2>&1
then
	server_user=postgres
else
	server_user=nobody
fi

# Run a command as the user of the servers; it keeps our process id when started with exec or "&".
as_server()
{
	if [ "$(id -u)" = 0 ]
	then
		exec setpriv --reuid="$server_user" --regid="$(id -g "$server_user")" --init-groups env HOME=/tmp "$@"
	else
		exec "$@"
	fi
}

# The same, in the foreground.
run_as_server()
{
	( as_server "$@" )
}

# A directory below TMPDIR that belongs to the user of the servers.
make_work_dir()
{
	local dir
	dir=$(mktemp -d "${TMPDIR:-/tmp}/promgres-$1.XXXXXX") || return 1
	chown "$server_user" "$dir"
	echo "$dir"
}

setup=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# N ports that nobody listens on.
free_ports()
{
	"$setup/free_ports" "$1"
}

# Copy the server that pg_config names below a directory, and install promgres there.  A server finds
# its libraries and files relative to its own place, so the copy needs nothing of the original.
make_private_server()
{
	local source=$1 root=$2 dir
	for dir in "$($PG_CONFIG --bindir)" "$($PG_CONFIG --pkglibdir)" "$($PG_CONFIG --sharedir)"
	do
		mkdir -p "$root$dir" && cp -a "$dir/." "$root$dir/" || return 1
	done
	make -s -C "$source" PG_CONFIG="$PG_CONFIG" DESTDIR="$root" install >/dev/null || return 1
	private_bin=$root$($PG_CONFIG --bindir)
}

# Wait until a command succeeds, at most so many seconds.
wait_until()
{
	local seconds=$1 end
	shift
	end=$((SECONDS + seconds))
	until "$@" >/dev/null 2>&1
	do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.2
	done
}
