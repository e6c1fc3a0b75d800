// The camera: a look through it, and one picture.

import { byId } from "./element.js";
import { asAddress } from "./pictures.js";

const REFUSED = {
  NotAllowedError: "The browser does not let this page use the camera. Allow it in the address bar, or add a file.",
  NotFoundError: "There is no camera. Connect one, or add a file.",
  NotReadableError: "Another program holds the camera. Close it there, or add a file.",
};

export function setUpCamera(took) {
  const dialog = byId("camera");
  const video = byId("viewfinder");
  const notice = byId("camera-notice");
  const shoot = byId("shoot");

  function close() {
    for (const track of video.srcObject?.getTracks() ?? []) track.stop();
    video.srcObject = null;
    if (dialog.open) dialog.close();
  }

  byId("open-camera").addEventListener("click", async () => {
    notice.hidden = true;
    shoot.disabled = true;
    dialog.showModal();
    try {
      if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("", "SecurityError");
      const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      if (!dialog.open) {
        for (const track of stream.getTracks()) track.stop();
        return;
      }
      video.srcObject = stream;
      await video.play();
      shoot.disabled = false;
    } catch (error) {
      notice.textContent =
        REFUSED[error.name] ?? "The camera only opens on https:// or on localhost. Add a file instead.";
      notice.hidden = false;
    }
  });
  shoot.addEventListener("click", () => {
    took(asAddress(video, video.videoWidth, video.videoHeight));
    close();
  });
  byId("close-camera").addEventListener("click", close);
  dialog.addEventListener("close", close);
}
