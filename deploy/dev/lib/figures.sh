# shellcheck shell=bash
# The figures we watch, each with the bound it should keep. A developer's machine may be busy, so there they are only
# printed; where CI=true, `keep_bounds` fails when one of them was over its bound.

# Seconds, to the millisecond where bash can tell (5.0 and newer).
now() { echo "${EPOCHREALTIME:-$SECONDS}" | tr , .; }

# seconds_since MOMENT
seconds_since() { awk -v began="$1" -v now="$(now)" 'BEGIN { printf "%.1f", now - began }'; }

OVER=()

# figure WHAT MEASURED BOUND UNIT
figure() {
  awk -v what="$1" -v measured="$2" -v bound="$3" -v unit="$4" 'BEGIN {
    over = measured == "" ? "   (not measured)" : measured + 0 > bound + 0 ? "   OVER ITS BOUND" : ""
    printf "%-52s measured %6s %s, bound %s %s%s\n", what, measured, unit, bound, unit, over
    exit measured != "" && measured + 0 > bound + 0
  }' || OVER+=("$1")
}

# Fails where CI=true and a figure was over its bound.
keep_bounds() {
  [[ ${CI:-} != true || ${#OVER[@]} -eq 0 ]] || die "over its bound (CI=true): $(IFS=, && echo "${OVER[*]}")"
}

# Resident memory of our own services together, in MB; PostgreSQL and NATS are not ours. Where there is no /proc it is
# not measured.
resident_megabytes() {
  local service files=()
  for service in "${SERVICES[@]}"; do files+=("/proc/$(cat "$CARACAL_DIR/run/$service.pid")/status"); done
  [[ -d /proc/self ]] || return 0
  awk '/^VmRSS:/ { kilobytes += $2 } END { printf "%d", kilobytes / 1024 }' "${files[@]}"
}
