#!/bin/sh
# Installs what a fresh Debian 12 lacks: install.sh [build] [test] [demo] [demo-s3] [bench]
#
# Quick when everything is there, and careful otherwise: no PostgreSQL cluster is made, no service is
# started or left enabled, servers that exist are not touched.  Needs root or sudo only if something is
# missing.  A PostgreSQL that pg_config finds, with the files for extensions, is used as it is.
set -eu

PG_MAJOR=${PG_MAJOR:-15}
BUILD="gcc g++ make bison flex pkg-config libmicrohttpd-dev libgnutls28-dev libsnappy-dev libzstd-dev zlib1g-dev libre2-dev libxxhash-dev libpq-dev libcurl4-openssl-dev libssl-dev libexpat1-dev"
SERVER="postgresql-$PG_MAJOR postgresql-server-dev-$PG_MAJOR"
DEMO="prometheus prometheus-node-exporter curl ca-certificates perl python3"
CEPH="radosgw ceph-base ceph-mon ceph-osd ceph-common"
SWIFT="swift-proxy swift-account swift-container swift-object memcached"
BENCH="$DEMO gcc libsnappy-dev victoria-metrics"
TEST="$DEMO openssl binutils libipc-run-perl python3-yaml chromium chromium-driver victoria-metrics postgresql-$PG_MAJOR-cron $CEPH $SWIFT"

packages=
for part in "${@:-build}"
do
	case $part in
		build) packages="$packages $BUILD" ;;
		test) packages="$packages $TEST" ;;
		demo) packages="$packages $DEMO" ;;
		demo-s3) packages="$packages $DEMO $CEPH" ;;
		bench) packages="$packages $BENCH" ;;
		*) echo "install.sh: no such part: $part" >&2; exit 2 ;;
	esac
done

# Is there a server that extensions can be built for?
usable_server()
{
	pgxs=$("${PG_CONFIG:-pg_config}" --pgxs 2>/dev/null) && [ -f "$pgxs" ] &&
		[ -f "$("${PG_CONFIG:-pg_config}" --includedir-server)/postgres.h" ] &&
		[ -x "$("${PG_CONFIG:-pg_config}" --bindir)/postgres" ]
}

usable_server || packages="$SERVER $packages"

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null
then
	echo "This is not a Debian system, so nothing is installed automatically.  promgres needs:" >&2
	echo "  PostgreSQL 15 with its files for building extensions;" >&2
	echo "  what Debian calls$packages" >&2
	# What can be built may be built.
	usable_server && exit 0
	exit 1
fi

missing=
for package in $packages
do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=
	case " $missing " in
		*" $package "*) ;;
		*) [ "$state" = installed ] || missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]
then
	as_root=
elif command -v sudo >/dev/null
then
	as_root=sudo
else
	echo "These packages are missing, and installing them needs root or sudo:" >&2
	echo "  apt-get install --no-install-recommends$missing" >&2
	exit 1
fi

echo "Installing:$missing"

# For the time of the installation: no default cluster, no services.
no_cluster=/etc/postgresql-common/createcluster.d/promgres-setup.conf
no_services=/usr/sbin/policy-rc.d
made=
undo()
{
	[ -z "$made" ] || $as_root rm -f $made
	[ ! -d "${no_cluster%/*}" ] || $as_root rmdir --ignore-fail-on-non-empty "${no_cluster%/*}"
	made=
}
trap undo EXIT
trap 'exit 130' INT TERM
case $missing in
	*postgresql*)
		if ! grep -qs '^create_main_cluster *= *false' /etc/postgresql-common/createcluster.conf
		then
			$as_root mkdir -p "${no_cluster%/*}"
			made="$made $no_cluster"
			echo 'create_main_cluster = false' | $as_root tee "$no_cluster" >/dev/null
		fi ;;
esac
if [ ! -e "$no_services" ]
then
	made="$made $no_services"
	printf '#!/bin/sh\nexit 101\n' | $as_root tee "$no_services" >/dev/null
	$as_root chmod 755 "$no_services"
fi

log=$(mktemp)
install_missing()
{
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 \
		install -qq -y --no-install-recommends $missing </dev/null >"$log" 2>&1
}
# The lists may be absent or old.
if ! install_missing
then
	$as_root apt-get -o DPkg::Lock::Timeout=120 update -qq </dev/null >"$log" 2>&1 && install_missing || {
		tail -n 20 "$log" >&2
		echo "apt-get could not install:$missing" >&2
		rm -f "$log"
		exit 1
	}
fi
rm -f "$log"

# Packages enable their services; what was not there before shall not run after the next boot.
if command -v systemctl >/dev/null
then
	for package in $missing
	do
		case $package in
			prometheus | prometheus-node-exporter | memcached | swift-*) units=$package ;;
			ceph-base) units="ceph.target ceph-crash.service" ;;
			ceph-mon | ceph-osd) units=$package.target ;;
			radosgw) units=ceph-radosgw.target ;;
			*) continue ;;
		esac
		$as_root systemctl disable -q $units >/dev/null 2>&1 || true
	done
fi
