// Asks the browser for a passkey and sends its answer with the form. The form
// says what is asked (data-ceremony, data-options) and whether to ask at once
// (data-auto). Options and answer have the JSON forms of WebAuthn Level 3,
// section 5.1; they are converted here because not every browser does it.
"use strict";

(() => {
  const form = document.getElementById("passkey");
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const withBytes = (list) => (list ?? []).map((c) => ({ ...c, id: bytes(c.id) }));
  const show = (id) => { document.getElementById(id).hidden = false; };

  function options() {
    const o = JSON.parse(form.dataset.options);
    o.challenge = bytes(o.challenge);
    if (o.user) o.user = { ...o.user, id: bytes(o.user.id) };
    if (o.excludeCredentials) o.excludeCredentials = withBytes(o.excludeCredentials);
    if (o.allowCredentials) o.allowCredentials = withBytes(o.allowCredentials);
    return o;
  }

  function answer(credential) {
    const r = credential.response;
    const response = { clientDataJSON: text(r.clientDataJSON) };
    if (form.dataset.ceremony === "create") {
      response.attestationObject = text(r.attestationObject);
      response.transports = r.getTransports ? r.getTransports() : [];
    } else {
      response.authenticatorData = text(r.authenticatorData);
      response.signature = text(r.signature);
      if (r.userHandle) response.userHandle = text(r.userHandle);
    }
    return JSON.stringify({ id: credential.id, rawId: text(credential.rawId), type: credential.type, response, clientExtensionResults: {} });
  }

  let asking = false;
  async function ask() {
    if (asking) return;
    if (!window.PublicKeyCredential) return show("unable");
    asking = true;
    document.getElementById("refused").hidden = true;
    try {
      const credential = await navigator.credentials[form.dataset.ceremony]({ publicKey: options() });
      form.elements.credential.value = answer(credential);
      form.submit();
    } catch (e) {
      asking = false;
      show("refused");
    }
  }

  form.addEventListener("submit", (e) => { e.preventDefault(); ask(); });
  if ("auto" in form.dataset) ask();
})();
