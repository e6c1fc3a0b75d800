// A picture to begin with, drawn here: a view that starts empty says nothing.

export function samplePicture() {
  const canvas = document.createElement("canvas");
  canvas.width = 224;
  canvas.height = 224;
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#f3efe6";
  pen.fillRect(0, 0, 224, 224);
  pen.fillStyle = "#c7402d";
  pen.beginPath();
  pen.arc(70, 74, 42, 0, 2 * Math.PI);
  pen.fill();
  pen.fillStyle = "#2f62b8";
  pen.fillRect(124, 116, 72, 72);
  pen.fillStyle = "#e0b13c";
  pen.beginPath();
  pen.moveTo(64, 136);
  pen.lineTo(104, 196);
  pen.lineTo(24, 196);
  pen.fill();
  return canvas.toDataURL("image/png");
}
