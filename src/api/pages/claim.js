// The claim link's token stands behind # and so never reaches a server's log: it is sent in the body, once.
"use strict";
const said = document.getElementById("said"), form = document.getElementById("claim");
const value = id => document.getElementById(id).value;
form.addEventListener("submit", async event => {
  event.preventDefault();
  if (value("password") !== value("again")) {
    said.textContent = "The two passwords differ.";
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
  said.textContent = "Done: you are signed in as " + body.operator.name + ", the owner. ";
  const on = document.createElement("a");
  on.href = "../dashboard/start";
  on.textContent = "To the first steps";
  said.append(on);
  location.assign(on.href);
});
