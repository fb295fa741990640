#!/bin/sh
# Dependencies point down: fails if a source file includes a header of a room that stands above its own.
set -e
cd "$(dirname "$0")/.."
bad=0
# room: the rooms it may include
allowed() {
    case "$1" in
    core) echo "core" ;;
    model) echo "core model" ;;
    recipes | convert | runner) echo "core model $1" ;;
    packager) echo "core model recipes packager" ;;
    validate) echo "core model recipes convert runner packager validate" ;;
    cli) echo "core model recipes convert runner packager validate cli" ;;
    esac
}
for room in core model recipes convert runner packager validate cli; do
    rooms=" $(allowed $room) "
    for file in $(find $room -name '*.[ch]' | LC_ALL=C sort); do
        for other in $(sed -n 's|^#include "\([a-z]*\)/.*|\1|p' "$file" | LC_ALL=C sort -u); do
            case "$rooms" in *" $other "*) ;; *) echo "check-deps: $file includes $other/, which stands above $room/"; bad=1 ;; esac
        done
    done
done
# Only cli/ prints or exits.
if grep -nE '(^|[^a-z_])(printf|puts|putchar|fprintf|perror|exit|_exit|abort|assert)\(' \
    $(find core model recipes convert runner packager validate -name '*.[ch]') | grep -vE 'static_assert|\* |//' ; then
    echo "check-deps: only cli/ may print or exit"; bad=1
fi
exit $bad
