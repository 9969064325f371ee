#!/bin/sh
# What a person does without ecogsafe: fetch the sealed objects, open each with age, compare the digests.
set -eu
"$S5CMD" --log error cp --exclude '_ecogsafe/*' "s3://$BUCKET/*" "$TARGET/"
cd "$TARGET"
find . -name '*.age' -print0 |
    xargs -0 -P "$JOBS" -n 1 sh -c '"$AGE" -d -i "$IDENTITY" -o "${1%.age}" "$1" && rm "$1"' open
split -n "l/$JOBS" "$SUMS" "$TMPDIR/sums."
for part in "$TMPDIR"/sums.*; do echo "$part"; done | xargs -P "$JOBS" -n 1 sha256sum --quiet -c
rm "$TMPDIR"/sums.*
