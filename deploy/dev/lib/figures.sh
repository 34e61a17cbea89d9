# shellcheck shell=bash
# The figures we watch, each with the bound it should keep. They are printed, not enforced: a machine may be busy.

# Seconds, to the millisecond where bash can tell (5.0 and newer).
now() { echo "${EPOCHREALTIME:-$SECONDS}" | tr , .; }

# seconds_since MOMENT
seconds_since() { awk -v began="$1" -v now="$(now)" 'BEGIN { printf "%.1f", now - began }'; }

# figure WHAT MEASURED BOUND UNIT
figure() {
  awk -v what="$1" -v measured="$2" -v bound="$3" -v unit="$4" 'BEGIN {
    over = measured == "" ? "   (not measured)" : measured + 0 > bound + 0 ? "   OVER ITS BOUND" : ""
    printf "%-52s measured %6s %s, bound %s %s%s\n", what, measured, unit, bound, unit, over
  }'
}

# Resident memory of our own services together, in MB; PostgreSQL and NATS are not ours.
resident_megabytes() {
  local service pids=()
  for service in "${SERVICES[@]}"; do pids+=("$(cat "$CARACAL_DIR/run/$service.pid")"); done
  ps -o rss= -p "$(IFS=, && echo "${pids[*]}")" | awk '{ kilobytes += $1 } END { printf "%d", kilobytes / 1024 }'
}
