// isomorphic-git against Cairn: its first request carries no credentials, it speaks protocol v1 with its own pack code.
// Prints `ok WHAT` or `FAIL WHAT` for each check.

import fs from "node:fs";
import path from "node:path";
import { execFileSync } from "node:child_process";
import git from "isomorphic-git";
import plainHttp from "isomorphic-git/http/node";

const { CAIRN_URL, CAIRN_API_TOKEN, work } = process.env;
const author = { name: "Judge", email: "judge@example.com" };
const place = (name) => path.join(work, "isomorphic", name);

// The same HTTP, with a note of each request and its answer.
const seen = [];
const http = {
  async request(wish) {
    const answer = await plainHttp.request(wish);
    seen.push({ method: wish.method ?? "GET", url: wish.url, status: answer.statusCode, authorization: "Authorization" in wish.headers });
    return answer;
  },
};

async function rest(route, body) {
  const headers = { Authorization: `Bearer ${CAIRN_API_TOKEN}`, "Content-Type": "application/json" };
  const url = `${CAIRN_URL}/client/v4/accounts/local/artifacts${route}`;
  const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  if (answer.status !== 201) throw new Error(`${route}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()).result;
}

async function check(what, body) {
  try {
    await body();
    console.log(`ok isomorphic-git: ${what}`);
  } catch (error) {
    console.log(`FAIL isomorphic-git: ${what}`);
    console.log(error.stack ?? error);
  }
}

function same(got, want, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(want)];
  if (a !== b) throw new Error(`${what}: ${a} instead of ${b}`);
}

async function refused(promise, want) {
  const error = await promise.then(() => null, (caught) => caught);
  if (!error) throw new Error("it was not refused");
  const words = `${error.code} ${error.data?.statusCode ?? ""} ${error.message}`;
  if (!want.test(words)) throw new Error(`refused with other words: ${words}`);
}

const { remote, token } = await rest("/namespaces/iso/repos", { name: "judge" });
const read = (await rest("/namespaces/iso/tokens", { repo: "judge", scope: "read" })).plaintext;
const password = (secret) => ({ onAuth: () => ({ username: "x", password: secret.split("?")[0] }), onAuthFailure: () => ({ cancel: true }) });
const may = password(token);
const stock = (...args) => execFileSync("git", ["-c", `http.extraHeader=Authorization: Bearer ${token}`, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
const at = (dir) => ({ fs, http, dir });

async function change(dir, file, text, message) {
  fs.mkdirSync(path.dirname(path.join(dir, file)), { recursive: true });
  fs.writeFileSync(path.join(dir, file), text);
  await git.add({ fs, dir, filepath: file });
  return git.commit({ fs, dir, message, author });
}

let first, second, theirs;
const here = place("here");
await check("pushes a first commit to an empty repository", async () => {
  fs.mkdirSync(here, { recursive: true });
  await git.init({ fs, dir: here, defaultBranch: "main" });
  await git.addRemote({ fs, dir: here, remote: "origin", url: remote });
  first = await change(here, "src/a.txt", "one\n".repeat(500), "first");
  const done = await git.push({ ...at(here), remote: "origin", ref: "main", ...may });
  same([done.ok, done.error], [true, null], "the result of the push");
  same(stock("ls-remote", remote, "refs/heads/main"), `${first}\trefs/heads/main\n`, "what stock git sees");
});

await check("asks without credentials first, is told 401, and then gives them", async () => {
  const [one, two] = seen;
  same([one.status, one.authorization], [401, false], "the first request");
  same([two.status, two.authorization], [200, true], "the second request");
});

const there = place("there");
await check("clones", async () => {
  await git.clone({ ...at(there), url: remote, ...may });
  same(fs.readFileSync(path.join(there, "src/a.txt"), "utf8"), "one\n".repeat(500), "the file");
  same(await git.resolveRef({ fs, dir: there, ref: "HEAD" }), first, "HEAD");
  same(await git.currentBranch({ fs, dir: there }), "main", "the branch");
});

await check("pushes deltas of what is there", async () => {
  second = await change(there, "src/a.txt", `${"one\n".repeat(500)}two\n`, "second");
  const done = await git.push({ ...at(there), ...may });
  same(done.refs["refs/heads/main"].ok, true, "the ref in the report");
});

await check("pulls what another client pushed", async () => {
  await git.pull({ ...at(here), ref: "main", author, singleBranch: true, ...may });
  same(await git.resolveRef({ fs, dir: here, ref: "HEAD" }), second, "HEAD after the pull");
  same(fs.readFileSync(path.join(here, "src/a.txt"), "utf8").endsWith("two\n"), true, "the file");
});

await check("pulls what stock git pushed", async () => {
  const dir = place("stock");
  stock("clone", "--quiet", remote, dir);
  fs.writeFileSync(path.join(dir, "stock.txt"), "by stock git\n");
  stock("-C", dir, "add", ".");
  stock("-C", dir, "commit", "--quiet", "-m", "third");
  stock("-C", dir, "push", "--quiet", "origin", "main");
  theirs = stock("-C", dir, "rev-parse", "HEAD").trim();
  await git.pull({ ...at(here), ref: "main", author, singleBranch: true, ...may });
  same(await git.resolveRef({ fs, dir: here, ref: "HEAD" }), theirs, "HEAD after the pull");
});

await check("is refused a push that is not a fast-forward", async () => {
  await change(there, "late.txt", "late\n", "late");
  await refused(git.push({ ...at(there), ...may }), /PushRejected/);
});

await check("pushes a branch and a tag, and deletes the branch", async () => {
  await git.branch({ fs, dir: here, ref: "topic/one" });
  same((await git.push({ ...at(here), ref: "topic/one", ...may })).ok, true, "the branch");
  await git.annotatedTag({ fs, dir: here, ref: "v1", message: "one", tagger: author });
  same((await git.push({ ...at(here), ref: "v1", ...may })).ok, true, "the tag");
  const names = (await git.listServerRefs({ http, url: remote, ...may })).map((ref) => ref.ref);
  same(names, ["HEAD", "refs/heads/main", "refs/heads/topic/one", "refs/tags/v1"], "the refs, by protocol v2");
  same((await git.push({ ...at(here), ref: "topic/one", delete: true, ...may })).ok, true, "the deletion");
  same(stock("ls-remote", remote, "refs/heads/topic/one"), "", "the branch after it");
});

await check("clones at depth 1", async () => {
  const dir = place("shallow");
  await git.clone({ ...at(dir), url: remote, depth: 1, singleBranch: true, ...may });
  same((await git.log({ fs, dir })).map((entry) => entry.oid), [theirs], "the log");
});

await check("is refused with a wrong token", async () => {
  const wrong = password(`art_v1_${"0".repeat(40)}`);
  await refused(git.clone({ ...at(place("wrong")), url: remote, ...wrong }), /401|UserCanceled/);
});

await check("reads with a read token and is refused a push", async () => {
  const dir = place("reader");
  await git.clone({ ...at(dir), url: remote, ...password(read) });
  await change(dir, "no.txt", "no\n", "no");
  await refused(git.push({ ...at(dir), ...password(read) }), /403/);
});

await check("leaves a repository that stock git finds sound", async () => {
  const dir = place("mirror.git");
  stock("clone", "--quiet", "--mirror", remote, dir);
  stock("-C", dir, "fsck", "--strict", "--no-dangling");
  same(stock("-C", dir, "rev-parse", "refs/heads/main").trim(), theirs, "main");
});
