# Read by the scripts beside it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
engine=${CONTAINER_ENGINE:-podman}
work=$(mktemp -d)
started=()
volumes=()

finish() {
  code=$?
  set +e
  [ $code -eq 0 ] || for name in "${started[@]}"; do "$engine" logs --tail 20 "$name" >&2; done
  for name in "${started[@]}"; do "$engine" rm -f "$name"; done >/dev/null 2>&1
  for name in "${volumes[@]}"; do "$engine" volume rm "$name"; done >/dev/null 2>&1
  type clean_up >/dev/null 2>&1 && clean_up
  rm -rf "$work"
  exit $code
}
trap finish EXIT

claim() { echo "  $*"; }
fail() { echo "not so: $*" >&2; exit 1; }

# Runs its words each 0.1 s until they succeed, for up to a minute.
until_so() {
  for _ in $(seq 600); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  fail "$* within a minute"
}

# Builds a stage of the Containerfile under a name. Binaries that BINARIES=built takes are those of target/release.
build() {
  local format=()
  case "$engine" in *docker*) ;; *) format=(--format docker) ;; esac
  "$engine" build "${format[@]}" -f docs/examples/Containerfile --target "$1" -t "$2" \
    --build-arg "BINARIES=${BINARIES:-compiled}" . >"$work/build.log" 2>&1 || { tail -40 "$work/build.log" >&2; fail "$2 is built"; }
}

git_here() {
  env -i PATH="$PATH" HOME="$work" GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0 \
    GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.com GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@example.com git "$@"
}

# The port of the host behind port 8787 of a container.
port_of() { "$engine" port "$1" 8787/tcp | sed -n '1s/.*://p'; }

# Makes default/NAME on the server of a container and prints what git opens it with.
repository() {
  local port token answer
  port=$(port_of "$1")
  token=$("$engine" exec "$1" cat /data/api-token)
  answer=$(curl -sf -H "Authorization: Bearer $token" -d "{\"name\":\"$2\"}" \
    "http://127.0.0.1:$port/client/v4/accounts/local/artifacts/namespaces/default/repos")
  python3 -c 'import json, sys; print(json.loads(sys.argv[1])["result"]["token"].split("?")[0])' "$answer"
}
