// The binary frame of omni.v1: type u8, flags u8, stream u16, sequence u32, sample u64, [client time f64], payload.

export const PCM16 = 1;
export const FIRST = 1;
export const LAST = 2;
export const TIMED = 4;
const HEADER = 16; // bytes

/** One frame of sound: `samples` are float32, `time` seconds on this page's clock when the last one was taken. */
export function packSound(samples, sequence, sample, time) {
  const buffer = new ArrayBuffer(HEADER + 8 + 2 * samples.length);
  const view = new DataView(buffer);
  view.setUint8(0, PCM16);
  view.setUint8(1, TIMED | (sequence === 0 ? FIRST : 0));
  view.setUint32(4, sequence >>> 0, true);
  view.setBigUint64(8, BigInt(sample), true);
  view.setFloat64(HEADER, time, true);
  for (let i = 0, at = HEADER + 8; i < samples.length; i += 1, at += 2) {
    const scaled = Math.round(samples[i] * 32768);
    view.setInt16(at, Math.max(-32768, Math.min(32767, scaled)), true);
  }
  return buffer;
}

/** What came: `{type, flags, stream, samples}`; samples are null for what is not pcm16. */
export function unpack(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < HEADER) throw new RangeError(`a frame of ${buffer.byteLength} bytes has no header`);
  const type = view.getUint8(0);
  const flags = view.getUint8(1);
  const start = HEADER + (flags & TIMED ? 8 : 0);
  let samples = null;
  if (type === PCM16) {
    samples = new Float32Array((buffer.byteLength - start) >> 1);
    for (let i = 0; i < samples.length; i += 1) samples[i] = view.getInt16(start + 2 * i, true) / 32768;
  }
  return { type, flags, stream: view.getUint16(2, true), samples };
}
