// The claim link's token stands behind # and so never reaches a server's log: it is sent in the body, once.
"use strict";
const said = document.getElementById("said"), form = document.getElementById("claim");
const zh = {
  title: "成为所有者 - sluice", heading: "成为此 sluice 的所有者", hint: "此链接只能使用一次。先拿到它的人决定谁可以登录。",
  name: "名称", password: "密码", again: "再次输入", submit: "成为所有者", differ: "两次输入的密码不同。",
  done: "完成：您已登录，身份为所有者 ", on: "前往快速开始"};
// In the language of the browser: the page says it in English.
const speaks = (navigator.language || "").toLowerCase().startsWith("zh") ? zh : null;
if (speaks) {
  document.documentElement.lang = "zh-Hans";
  document.title = zh.title;
  for (const e of document.querySelectorAll("[data-say]"))
    e.textContent = zh[e.dataset.say];
}
const value = id => document.getElementById(id).value;
form.addEventListener("submit", async event => {
  event.preventDefault();
  if (value("password") !== value("again")) {
    said.textContent = speaks ? zh.differ : "The two passwords differ.";
    return;
  }
  const answer = await fetch("v1/claim", {method: "POST", headers: {"Content-Type": "application/json"},
    body: JSON.stringify({token: location.hash.slice(1), name: value("name"), password: value("password")})});
  const body = await answer.json();
  if (!answer.ok) {
    said.textContent = body.error.message;
    return;
  }
  history.replaceState(null, "", location.pathname);
  form.hidden = true;
  said.textContent = speaks ? zh.done + body.operator.name + "。 " : "Done: you are signed in as " + body.operator.name + ", the owner. ";
  const on = document.createElement("a");
  on.href = "../dashboard/start";
  on.textContent = speaks ? zh.on : "To the first steps";
  said.append(on);
  location.assign(on.href);
});
