# Every `wrangler artifacts` command, for people and with --json, and what wrangler says when something is wrong.
# Sourced by `run`.

export CLOUDFLARE_API_BASE_URL=$CAIRN_URL/client/v4 CLOUDFLARE_API_TOKEN=$CAIRN_API_TOKEN
export CLOUDFLARE_ACCOUNT_ID=local CLOUDFLARE_LOAD_DEV_VARS_FROM_DOT_ENV=false
export WRANGLER_SEND_METRICS=false WRANGLER_SEND_ERROR_REPORTS=false WRANGLER_HIDE_BANNER=true
export CI=1 NO_COLOR=1 FORCE_COLOR=0 WRANGLER_LOG_SANITIZE=true

wrangler() { "$node" "$installed/node_modules/wrangler/bin/wrangler.js" "$@" </dev/null; }

# says WHAT PATTERN ARGS...: the command works and prints a line that matches.
says() {
  local what=$1 pattern=$2 out
  shift 2
  if ! out=$(wrangler "$@" 2>&1); then bad "wrangler: $what" "$out"; return; fi
  if grep -qE -- "$pattern" <<<"$out"; then ok "wrangler: $what"; else bad "wrangler: $what" "$out"; fi
}
# answers WHAT EXPRESSION ARGS...: the JSON that the command prints makes the JavaScript expression on `x` true.
answers() {
  local what=$1 expression=$2 out
  shift 2
  if ! out=$(wrangler "$@" --json 2>"$work/errors"); then bad "wrangler: $what" "$out$(cat "$work/errors")"; return; fi
  if judge "$expression" <<<"$out"; then ok "wrangler: $what"; else bad "wrangler: $what" "$out"; fi
}
judge() {
  "$node" -e 'const x = JSON.parse(require("fs").readFileSync(0, "utf8")); process.exit(eval(process.argv[1]) ? 0 : 1)' "$1"
}
# refuses WHAT PATTERN ARGS...: the command fails, with words that match.
refuses() {
  local what=$1 pattern=$2 out
  shift 2
  if out=$(wrangler "$@" 2>&1); then bad "wrangler: $what" "$out"; return; fi
  if grep -qE -- "$pattern" <<<"$out"; then ok "wrangler: $what"; else bad "wrangler: $what" "$out"; fi
}
field() { "$node" -e 'console.log(JSON.parse(require("fs").readFileSync(0, "utf8"))[process.argv[1]])' "$1"; }

version=$(wrangler --version 2>"$work/errors" | tail -1)
if [[ "$version" =~ ^4\.[0-9]+\.[0-9]+ ]]; then ok "wrangler: is $version"; else bad "wrangler: starts" "$version"; fi

says "an empty server has no namespaces" '^No Artifacts namespaces found' artifacts namespaces list
answers "an empty list is an empty array" 'Array.isArray(x) && x.length === 0' artifacts namespaces list
answers "a namespace that is not there has no repositories" 'Array.isArray(x) && x.length === 0' \
  artifacts repos list --namespace nobody
refuses "a missing namespace is named as such" 'Namespace not found.*\[code: 10200\]' artifacts namespaces get nobody

says "creates a repository" '^Created Artifacts repo "first" in namespace "team"' artifacts repos create first --namespace team
created=$(wrangler artifacts repos create second --namespace team --description 'for two' --default-branch trunk --read-only --json 2>"$work/errors")
if judge 'x.name === "second" && x.description === "for two" && x.default_branch === "trunk"
    && /^art_v1_[0-9a-f]{40}\?expires=\d+$/.test(x.token) && x.remote.endsWith("/git/team/second.git")
    && /^[0-9a-z]{16}$/.test(x.id)' <<<"$created"; then
  ok "wrangler: create answers id, name, description, branch, remote and token"
else
  bad "wrangler: create answers id, name, description, branch, remote and token" "$created"
fi
refuses "a second repository of a name is refused" 'repo already exists: first.*\[code: 10201\]' \
  artifacts repos create first --namespace team
refuses "a bad name is refused" '\[code: 10101\]' artifacts repos create .first --namespace team

says "shows a repository" '^default_branch: +trunk$' artifacts repos get second --namespace team
says "shows that it is read-only" '^read_only: +true$' artifacts repos get second --namespace team
answers "get answers the whole repository" 'x.name === "second" && x.read_only === true && x.last_push_at === null
    && x.source === null && !Number.isNaN(Date.parse(x.created_at))' artifacts repos get second --namespace team
answers "names are looked up whatever their case" 'x.name === "second"' artifacts repos get SECOND --namespace TEAM
refuses "a missing repository is named as such" 'Repository not found.*\[code: 10200\]' \
  artifacts repos get third --namespace team

says "lists namespaces" 'team.*2' artifacts namespaces list
answers "lists namespaces as JSON" 'x.length === 1 && x[0].namespace === "team" && x[0].repo_count === 2' \
  artifacts namespaces list
says "shows a namespace" '^repo_count: +2$' artifacts namespaces get team
answers "get answers the namespace" 'x.namespace === "team" && x.repo_count === 2' artifacts namespaces get team
says "lists repositories" 'second.*trunk.*true.*ready' artifacts repos list --namespace team

says "issues a token" '^scope: +write$' artifacts repos issue-token first --namespace team
issued=$(wrangler artifacts repos issue-token first --namespace team --scope read --ttl 3600 --json 2>"$work/errors")
if judge 'x.scope === "read" && /^art_v1_/.test(x.plaintext) && Date.parse(x.expires_at) > Date.now()
    && Date.parse(x.expires_at) <= Date.now() + 3600000' <<<"$issued"; then
  ok "wrangler: a token has the scope and the time that were asked for"
else
  bad "wrangler: a token has the scope and the time that were asked for" "$issued"
fi
refuses "a time to live that is too short is refused" '\[code: 10103\]' \
  artifacts repos issue-token first --namespace team --ttl 1
refuses "a token of a missing repository is refused" 'Repository not found.*\[code: 10200\]' \
  artifacts repos issue-token third --namespace team
secret=$(field plaintext <<<"$issued")
if git -c "http.extraHeader=Authorization: Bearer $secret" ls-remote "$CAIRN_URL/git/team/first.git" >"$work/out" 2>&1; then
  ok "wrangler: stock git takes the token that it issued"
else
  bad "wrangler: stock git takes the token that it issued" "$(cat "$work/out")"
fi

# 60 repositories are two pages of wrangler's.
for at in $(seq 1 60); do
  printf '{"name":"many-%03d"}' "$at" | curl -sf --noproxy '*' -o /dev/null -H "Authorization: Bearer $CAIRN_API_TOKEN" -d @- \
    "$CLOUDFLARE_API_BASE_URL/accounts/local/artifacts/namespaces/many/repos"
done
answers "lists 60 repositories over pages, each once" 'x.length === 60 && new Set(x.map((r) => r.name)).size === 60
    && x.every((r) => r.status === "ready")' artifacts repos list --namespace many
out=$(wrangler artifacts repos list --namespace many 2>&1)
count=$(grep -cE 'many-[0-9]{3}' <<<"$out" || true)
if [ "$count" = 60 ]; then ok "wrangler: the table has 60 rows"; else bad "wrangler: the table has 60 rows" "$out"; fi
for at in $(seq 1 130); do
  printf '{"namespace":"space-%03d"}' "$at" | curl -sf --noproxy '*' -o /dev/null -H "Authorization: Bearer $CAIRN_API_TOKEN" -d @- \
    "$CLOUDFLARE_API_BASE_URL/accounts/local/artifacts/namespaces"
done
answers "lists 132 namespaces over pages, each once" 'x.length === 132 && new Set(x.map((n) => n.namespace)).size === 132' \
  artifacts namespaces list

says "deletes a repository" '^Deleted Artifacts repo "first" from namespace "team"' \
  artifacts repos delete first --namespace team --force
refuses "what was deleted is gone" 'Repository not found' artifacts repos get first --namespace team
answers "deletes a repository with --json" 'x.deleted === true && x.name === "second"' \
  artifacts repos delete second --namespace team --force
refuses "deleting what never was is refused" '\[code: 10200\]' artifacts repos delete never --namespace team --force
if git -c "http.extraHeader=Authorization: Bearer $secret" ls-remote "$CAIRN_URL/git/team/first.git" >"$work/out" 2>&1; then
  bad "wrangler: the tokens of a deleted repository die with it" "$(cat "$work/out")"
else
  ok "wrangler: the tokens of a deleted repository die with it"
fi

says "whoami finds the account" 'local' whoami
CLOUDFLARE_API_TOKEN=wrong refuses "a bad token is refused as such" 'Authentication error.*\[code: 10000\]' \
  artifacts repos list --namespace team
CLOUDFLARE_ACCOUNT_ID=other refuses "another account is refused" '\[code: 10107\]|Authentication|403' \
  artifacts repos list --namespace team
( unset CLOUDFLARE_ACCOUNT_ID
  wrangler artifacts namespaces get team --json >"$work/out" 2>"$work/errors" ) && judge 'x.namespace === "team"' <"$work/out" \
  && ok "wrangler: without an account it asks which there are and takes the one" \
  || bad "wrangler: without an account it asks which there are and takes the one" "$(cat "$work/out")"
