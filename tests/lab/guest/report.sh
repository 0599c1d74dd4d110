# Sourced by `check`: what a check says, and the waiting for what it wants to see.
# shellcheck shell=bash

readonly HOST=/host OUT=/host/out
readonly SERVICE=org.branchkiosk.Kiosk1 OBJECT=/org/branchkiosk/Kiosk1

# report NAME true|false TEXT
report() {
    jq --null-input --compact-output --arg check "$1" --argjson ok "$2" --arg detail "$3" \
        '{check: $check, ok: $ok, detail: $detail}' >>"$OUT/report.jsonl"
}

# expect NAME TEXT COMMAND...: the check holds if the command succeeds.
expect() {
    local name=$1 text=$2
    shift 2
    if "$@" >/dev/null 2>&1; then report "$name" true "$text"; else report "$name" false "$text"; fi
}

# Microseconds since 1970.
now() { echo "${EPOCHREALTIME/./}"; }

# takes SECONDS COMMAND...: waits until the command succeeds, and puts how long that took into $took, in ms.
takes() {
    local most=$1 start
    start=$(now)
    shift
    until "$@" >/dev/null 2>&1; do
        took=$((($(now) - start) / 1000))
        ((took < most * 1000)) || return 1
        sleep 0.2
    done
    took=$((($(now) - start) / 1000))
    ((took <= most * 1000))
}

# within NAME SECONDS TEXT COMMAND...: the check holds if the command succeeds by then.
within() {
    local name=$1 most=$2 text=$3 ok=true
    shift 3
    takes "$most" "$@" || { ok=false; text+=" ($(property State); $(property Faults))"; }
    report "$name" "$ok" "$text: $took ms, allowed $((most * 1000)) ms"
}

# faults_within NAME SECONDS TEXT SINCE CONDITION: the daemon's Faults fulfil the condition (of jq) by then. Timed by the
# bus, since asking takes a second on an emulated processor. SINCE is what `now` said.
faults_within() {
    local name=$1 most=$2 text=$3 since=$4 condition=$5 ok=true at
    local first="[inputs | select(.[\"timestamp-realtime\"] >= $since and (.payload.data[1].Faults.data | . != null and ($condition)))
        | .[\"timestamp-realtime\"]] | first // empty"
    # Twice the time: what comes too late is to be seen too.
    for ((i = 0; i < most * 2; i++)); do
        at=$(jq --null-input "$first" "$OUT/changes.json" 2>/dev/null)
        [[ -z $at ]] || break
        sleep 1
    done
    if [[ -z $at ]]; then
        ok=false took=never
    else
        took="$(((at - since) / 1000)) ms"
        ((at - since <= most * 1000000)) || ok=false
    fi
    report "$name" "$ok" "$text: $took, allowed $((most * 1000)) ms$([[ $ok == true ]] || echo " ($(property State); $(property Faults))")"
}

watch_changes() {
    busctl monitor --json=short --match="type='signal',sender='$SERVICE',member='PropertiesChanged'" \
        >"$OUT/changes.json" 2>/dev/null &
    sleep 2
}

# --- the daemon, over D-Bus -------------------------------------------------------------------------------------------

property() {
    busctl --json=short get-property "$SERVICE" "$OBJECT" "$SERVICE" "$1" | jq --raw-output --compact-output .data
}
figure() { property Figures | jq --raw-output "$1"; }
state_is() { [[ $(property State) == "$1" ]]; }
no_fault() { [[ $(property Faults) == "[]" ]]; }
fault() { property Faults | grep --quiet -- "$1"; }
frames_beyond() { (($(figure .publish.video.frames) > $1)); }

# --- the service ------------------------------------------------------------------------------------------------------

unit() { systemctl show --value --property "$1" kioskd.service; }
