#!/usr/bin/env bash
# Runs the tests of the faults that people run into when they deploy a server like this one, kind by kind.
#
#   scripts/cases.sh           the quick tests of every kind
#   scripts/cases.sh KIND      all tests of one kind, the slow ones included: scripts/cases.sh "CPU quota"
#   scripts/cases.sh --all     all tests of every kind
#   scripts/cases.sh --list    prints the kinds and the tests of each, and runs nothing
#
# scripts/test.sh runs all of these tests too, among the others. Exit codes: 0 passed, 1 failed, 2 nonsense, in one line.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

# A kind stands alone in its line; its tests follow, one a line: where the test is, and its name or the module that is run
# whole ("logs::"). Those marked slow take more than a few seconds, or a browser.
CASES='
logs that cannot be written
  e2e logs::
  bin log::tests::
io_uring blocked
  e2e host::where_the_ring_is_blocked_shards_sleep_in_epoll
  e2e host::a_required_ring_that_is_blocked_is_refused_in_one_line
  bin host::findings::tests::each_cause_of_a_missing_ring_has_its_cure
  bin host::findings::tests::a_ring_that_nobody_asked_for_is_not_tried
last bucket of the histogram
  e2e metrics::the_reference_parsers_read_both_formats_in_full
  bin control::metrics::families::tests::a_scrape_is_open_metrics_text
  bin control::metrics::buckets::tests::buckets_add_up_to_all
environment of somebody else
  e2e environment::a_pod_beside_a_service_of_its_name_starts
  bin config::env::tests::variables_of_services_are_passed_over_in_silence
  bin config::env::tests::what_only_resembles_variables_of_services_is_told
  bin config::env::tests::mistyped_names_are_errors_and_other_names_are_warnings
two servers of one address
  faults two::another_form_of_the_address_is_the_same_address
  faults two::a_newer_process_takes_over_from_one_of_another_pid_namespace
  faults two::many_that_start_at_once_are_one_server
  bin takeover::holder::
  bin takeover::meet::
  bin takeover::end::
  bin takeover::offer::
  slow faults two::a_process_that_hangs_is_not_served_beside
  slow faults two::a_process_that_hangs_is_ended_where_that_is_asked_for
supervisors that always restart
  faults two::a_process_that_has_just_taken_over_is_left_alone
  bin takeover::settle::
  slow faults two::two_copies_that_are_always_restarted_do_not_fight
handlers that throw
  web handlers a handler that throws is reported, and all others hear the message
  web handlers listeners of events that throw are reported, however they were added
  web handlers listeners that throw while the connection ends do not keep the client away
  web handlers Node lives on without a hook, and tells the error on stderr
  web handlers a reporter that throws itself harms nobody
locked memory
  e2e host::locked_memory_is_counted_for_all_shards_and_for_the_whole_user
  bin host::findings::tests::locked_memory_is_asked_for_all_shards_at_once
  bin host::findings::tests::a_take_over_that_lacks_locked_memory_is_foretold
lines that a publishing command loses
  e2e publishing::every_line_is_published_whatever_it_says
  e2e publishing::lines_that_cannot_be_published_are_told_and_the_rest_goes
  e2e publishing::lines_that_the_server_refuses_are_counted
  e2e publishing::a_server_that_ends_the_connection_is_quoted
host names with several addresses
  e2e publishing::all_addresses_of_a_name_are_tried
  lib url::tests::the_first_address_that_answers_is_taken
messages that are too large
  e2e limits::a_message_that_is_too_large_ends_with_1009
  web requests what is larger than the server takes is refused and never sent
  web requests what was queued is held against the limit of the server that is found
  web reconnect a message that was too large after all costs one connection
SIGTERM and orchestrators
  e2e delay::
  e2e drain::
CPU quota
  bin host::tests::a_quota_bounds_the_shards_that_nobody_asked_for
  bin host::group::
  python test_host.Host.test_everything_is_read
  python test_host.Host.test_the_older_control_groups
origins
  e2e handshake::cures_for_frequent_disconnects_origin_check
  e2e proxies::a_proxy_may_show_the_server_under_another_host
  lib wire::origin::
  hostile handshakes::pages_of_other_sites_are_refused_before_the_101
format of the metrics
  e2e metrics::a_scraper_gets_the_format_that_it_asks_for
  bin control::metrics::accept::
  bin control::metrics::plain::
  slow e2e metrics::promtool_has_nothing_to_say
input methods
  slow e2e real_clients::browser_input_methods_paths_directions_and_long_messages
limits behind proxies
  e2e proxies::
  lib wire::proxy::
duplicated tabs
  web names tabs tell each other the names that they hold, and only those
  web names a page that was hidden and comes back answers again
  slow e2e real_clients::browser_two_tabs_never_have_one_name_by_accident
pages under a path
  e2e paths::all_paths_exist_with_and_without_the_prefix
  web page every address is relative, so that a proxy can serve it all under a path
  web reconnect an address is relative to the document, then to the worker; it has no fragment
  slow e2e real_clients::browser_input_methods_paths_directions_and_long_messages
answers of 401
  e2e control_api::unauthorized_requests_are_told_the_scheme
empty variables
  e2e environment::odd_variables_are_told_in_one_line
  bin config::env::tests::empty_variables_are_unset_and_invalid_utf8_is_an_error
pings in time
  e2e heartbeat::a_client_that_talks_and_hears_nothing_is_pinged_in_time
  e2e heartbeat::a_client_that_pongs_stays
forms of a listening address
  e2e publishing::a_server_listens_by_name_and_by_port
  e2e publishing::all_addresses_are_those_of_both_families_whatever_the_kernel_is_set_to
  bin config::listen::
slashes in paths
  e2e paths::doubled_slashes_make_no_difference
  lib wire::path::
retries of a publication
  e2e control_api::a_key_publishes_once_in_each_channel
  e2e control_api::requests_of_one_key_at_the_same_time_publish_once
  bin control::api::once::
one of several joins that is aborted
  web handlers an aborted join takes its own handler only; the last one leaves the channel
  web handlers a join that is aborted before its answer rejects alone
  web handlers leave with a handler takes that one back alone
connections opened ahead
  e2e handshake::refusals_with_their_reasons
  e2e proxies::a_silent_client_behind_a_proxy_header_is_not_answered
address in the image
  e2e container::the_address_is_a_variable_that_arguments_leave_alone
'

WANTED="" SLOW=no
case "${1:-}" in
  "") ;;
  --list)
    printf '%s' "$CASES" | sed '/^$/d; s/^[^ ]/\n&/; s/^  \(slow \)\?/&/' | sed '1{/^$/d}'
    exit 0
    ;;
  --all) SLOW=yes ;;
  *)
    WANTED=$1 SLOW=yes
    if [ $# -gt 1 ] || [[ $WANTED == " "* ]] || ! grep -Fxq -- "$WANTED" <<<"$CASES"; then
      echo "cases: no kind '$*' (names with spaces are quoted): --list prints the kinds" >&2
      exit 2
    fi
    ;;
esac

if [ -x .venv/bin/python ]; then
  TEST_PYTHON=${TEST_PYTHON:-$PWD/.venv/bin/python}
fi
export TEST_PYTHON=${TEST_PYTHON:-python3}
if cargo nextest --version >/dev/null 2>&1; then
  RUST=(cargo nextest run --cargo-quiet --status-level fail --final-status-level fail)
else
  RUST=(cargo test --quiet)
fi

# Runs names of one place: rust_tests "--test e2e" NAME...
rust_tests() {
  local where=$1
  shift
  # shellcheck disable=SC2086 # A target is two words.
  [ $# -eq 0 ] || "${RUST[@]}" --workspace $where -- "$@"
}

web_tests() {
  local file name status=0
  for file in "${!WEB[@]}"; do
    name=$(sed 's/[][\\.*^$+?(){}|/]/\\&/g; s/$/$/; s/^/^/' <<<"${WEB[$file]%$'\n'}" | paste -sd '|')
    (cd tests/web && node --test --test-reporter=dot --test-name-pattern="$name" "$file.test.mjs") || status=1
  done
  return "$status"
}

# Runs what was read, of one kind or of all of them: tests of one place run side by side.
run() {
  echo "cases: ${WANTED:-all kinds}${SKIPPED:+ (slow tests left out: $SKIPPED)}"
  local failed=no
  # All places are built at once; each of the runs below finds its own part there.
  [ -n "$WANTED" ] || cargo test --quiet --workspace --no-run || failed=yes
  rust_tests "--bin stentor" "${BIN[@]}" || failed=yes
  rust_tests --lib "${LIB[@]}" || failed=yes
  rust_tests "--test e2e" "${E2E[@]}" || failed=yes
  rust_tests "--test faults" "${FAULTS[@]}" || failed=yes
  rust_tests "--test hostile" "${HOSTILE[@]}" || failed=yes
  web_tests || failed=yes
  [ ${#PYTHON[@]} -eq 0 ] || (cd scripts && "$TEST_PYTHON" -m unittest --quiet "${PYTHON[@]}") || failed=yes
  [ "$failed" = no ]
}

SKIPPED="" BIN=() LIB=() E2E=() FAULTS=() HOSTILE=() PYTHON=() KIND=""
declare -A WEB
while IFS= read -r line; do
  case "$line" in
    "  "*) [ "$KIND" = "${WANTED:-$KIND}" ] || continue ;;
    *)
      KIND=$line
      continue
      ;;
  esac
  if [[ $line == "  slow "* ]]; then
    if [ "$SLOW" = no ]; then
      SKIPPED=$((SKIPPED + 1))
      continue
    fi
    line="  ${line#  slow }"
  fi
  read -r place name <<<"$line"
  case "$place" in
    bin) BIN+=("$name") ;;
    lib) LIB+=("$name") ;;
    e2e) E2E+=("$name") ;;
    faults) FAULTS+=("$name") ;;
    hostile) HOSTILE+=("$name") ;;
    python) PYTHON+=("planner.tests.$name") ;;
    web) WEB[${name%% *}]+="${name#* }"$'\n' ;;
  esac
done <<<"$CASES"

if ! run; then
  echo "cases: failed: ${WANTED:-see the names above; scripts/cases.sh KIND runs one kind}" >&2
  exit 1
fi
