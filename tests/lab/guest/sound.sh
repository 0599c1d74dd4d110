# Sourced by `check`: sound through ALSA. The card is the kernel's loopback (snd-aloop): what its loudspeaker plays is
# what its microphone hears.
# shellcheck shell=bash

sound_card() {
    # With one place at either end it is busy as a real card is.
    modprobe snd-aloop pcm_substreams=1
    cp asound.conf /etc/asound.conf
    sed '/^\[audio\]/,/^\[/ s/"none"/"alsa"/' /etc/kiosk/kiosk.toml >/run/sound.toml
}

# doctor NAME: what the self-check says about the devices.
doctor() {
    kioskd doctor --no-call --json --lang en --config /run/sound.toml >"$OUT/doctor-$1.json" 2>"$OUT/doctor-$1.txt"
}
# finding NAME DEVICE: outcome, what was seen, what to do.
finding() {
    jq --raw-output --arg id "device.$2" \
        '.checks[] | select(.id == $id) | "\(.outcome): \(.seen.en)\(if .remedy.en then ". " + .remedy.en else "" end)"' \
        "$OUT/doctor-$1.json"
}
# found NAME DEVICE PATTERN: the check holds if the finding is like this.
found() {
    local said
    said=$(finding "$1" "$2")
    expect "doctor-$1-$2" "$said" grep -Eq "$3" <<<"$said"
}
volume() { amixer --quiet --card Loopback sset Speaker "$1"; }

# A loudspeaker that is heard, one that is turned down, one that another program has, and no card at all.
sound_devices() {
    doctor heard
    found heard speaker '^pass: plays'
    found heard microphone '^pass: '
    found heard sound '^pass: '

    volume 0%
    doctor muted
    found muted speaker '^pass: plays'
    found muted microphone '^fail: .* the loudest 0 of 32767.*alsamixer'
    found muted sound '^warn: 0 tones understood.*alsamixer'
    volume 100%

    aplay --quiet --format=S16_LE --rate=48000 /dev/zero &
    local other=$!
    sleep 2
    doctor busy
    found busy speaker '^fail: default: '
    found busy sound '^skipped: needs both'
    kill "$other"
    wait "$other" 2>/dev/null

    modprobe --remove snd-aloop
    doctor gone
    found gone speaker '^fail: default: .*audio.sink_device'
    found gone microphone '^fail: default: .*audio.source_device'
    found gone sound '^skipped: needs both'
    modprobe snd-aloop pcm_substreams=1
    doctor back
    found back sound '^pass: '
}

# --- a call with sound ------------------------------------------------------------------------------------------------

# The bank's agent, on the server: a picture and tones.
agent() {
    mkdir -p /run/agent
    kioskctl server token --secret-file /run/server/token-secret --kind agent --room 1001 --valid-for 1d --out /run/agent
    { echo FRAME && head -c $((160 * 90 * 3 / 2)) /dev/zero; } >/run/agent/frame
    { echo "YUV4MPEG2 W160 H90 F30:1 C420jpeg" && for _ in {1..150}; do cat /run/agent/frame; done; } >/run/agent/film.y4m
    jq --null-input --rawfile token /run/agent/token --rawfile room /run/agent/room-token '{
        transport: "tcp", server: "ws://127.0.0.1:8188/", token: ($token | rtrimstr("\n")), room: 1001,
        room_token: ($room | rtrimstr("\n")), display: "agent/lab", recording: "/run/agent/film.y4m", size: [160, 90],
        bits_per_second: 50000}' >/run/agent/options.json
    ip netns exec server ./bin/link-publisher /run/agent/options.json >"$OUT/agent.log" 2>&1 &
    AGENT=$!
    takes 60 grep -q published "$OUT/agent.log"
}
agent_is_loud() { figure '.receive.audio.peak_dbfs' | grep -Eq '^-[0-9](\.|$)|^-[12][0-9](\.|$)'; }
sound_packets() { figure .publish.audio.packets; }
sound_beyond() { (($(sound_packets) > $1)); }
with_dsp() { grep -q libgstwebrtcdsp "/proc/$(unit MainPID)/maps"; }
sound_driver() { echo snd_aloop.0 >"/sys/bus/platform/drivers/snd_aloop/$1"; }

# Both directions of a call over the card, with the echo canceller between them; then the card is unplugged.
sound_call() {
    agent
    cp /run/sound.toml /etc/kiosk/kiosk.toml
    systemctl reload kioskd.service
    kioskctl call start >"$OUT/sound-call.txt" 2>&1
    within sound-call 90 "a call with an agent" state_is active
    within sound-of-agent 60 "the agent's tones on their way to the loudspeaker" agent_is_loud
    within sound-of-customer 60 "200 packets of what the microphone hears" sound_beyond 200
    expect sound-dsp "the echo canceller is loaded" with_dsp
    within sound-has-no-fault 20 "nothing is wrong" no_fault

    local since unbinding packets
    since=$(now)
    sound_driver unbind &
    unbinding=$!
    faults_within sound-unplug-microphone 10 "microphone-unavailable" "$since" 'any(.[]; .[0] == "microphone-unavailable")'
    faults_within sound-unplug-speaker 10 "speaker-unavailable" "$since" 'any(.[]; .[0] == "speaker-unavailable")'
    report sound-unplug-call-goes-on "$(state_is active && echo true || echo false)" "$(property State); $(property Faults)"
    wait "$unbinding"
    since=$(now)
    sound_driver bind
    faults_within sound-back 10 "no fault after the card came back" "$since" '. == []'
    packets=$(sound_packets)
    within sound-back-packets 60 "100 more packets" sound_beyond $((packets + 100))
    kill "$AGENT"
    kioskctl call end >/dev/null 2>&1
    within sound-call-ends 10 "idle after EndCall" state_is idle
}
