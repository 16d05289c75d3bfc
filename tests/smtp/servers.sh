#!/bin/sh
# Fetch Postfix and Exim from Debian and unpack them into a folder, without installing anything:
# as packages they exclude each other. The tests run them from there, on ports of 127.0.0.1.
# Usage: tests/smtp/servers.sh [FOLDER]        FOLDER defaults to build/servers
set -eu
folder=${1:-${MAILER_TEST_SERVERS:-build/servers}}
[ ! -e "$folder/complete" ] || exit 0
mkdir -p "$folder/archives/partial" "$folder/root"
folder=$(cd "$folder" && pwd)

# Every package with what it needs and this machine lacks; nothing reaches dpkg's database.
fetch() {
    apt-get install -y -qq --no-install-recommends --download-only -o Debug::NoLocking=1 \
        -o APT::Sandbox::User=root -o Dir::Cache::archives="$folder/archives" "$@" >/dev/null
}
fetch libnss-wrapper # the users that both servers want, without touching /etc/passwd
fetch postfix sasl2-bin libsasl2-modules
fetch exim4-daemon-light
for archive in "$folder"/archives/*.deb; do
    dpkg -x "$archive" "$folder/root"
done
rm -r "$folder/archives"
touch "$folder/complete"
