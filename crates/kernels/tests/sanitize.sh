#!/bin/sh
# Runs every kernel once under compute-sanitizer, and faults that it must find. The argument is the test program `sanitized`:
#   cargo test --release -p karst-kernels --features device-tests --test sanitized --no-run
set -u
program=${1:?the test program sanitized}
failed=0

check() { # tool, what to run, 0 if it must be clean and 1 if a fault must be found
  compute-sanitizer --tool "$1" --error-exitcode 9 "$program" --test-threads=1 $2 >sanitize.log 2>&1
  code=$?
  if { [ "$3" = 0 ] && [ $code = 0 ]; } || { [ "$3" = 1 ] && [ $code = 9 ]; }; then
    echo "$1 $2: as expected ($(grep -c '^test .* ok$' sanitize.log) tests, $(grep 'ERROR SUMMARY\|RACECHECK SUMMARY' sanitize.log | tail -1))"
  else
    echo "$1 $2: NOT as expected, exit code $code"
    tail -40 sanitize.log
    failed=1
  fi
}

check memcheck "--ignored planted_write" 1
check racecheck "--ignored planted_race" 1
check memcheck "once" 0
check racecheck "once" 0
rm -f sanitize.log
exit $failed
