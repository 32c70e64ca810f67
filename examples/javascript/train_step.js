// Train with a compiled step, in Node or in a browser:
//
//   nablac compile --train specs/mlp.model -o mlp.step.onnx
//   npm install --prefix examples/javascript
//   node examples/javascript/train_step.js mlp.step.onnx digits.json
//
// digits.json is {"image": [...], "label": [...]}, an example at each index.
import { readFile } from "node:fs/promises";
import * as ort from "onnxruntime-web";

const [stepFile, dataFile] = process.argv.slice(2);
const arrays = { F32: Float32Array, F64: Float64Array, I64: BigInt64Array, I32: Int32Array, U8: Uint8Array, BOOL: Uint8Array };
const types = { F32: "float32", F64: "float64", I64: "int64", I32: "int32", U8: "uint8", BOOL: "bool" };

// A .safetensors file: the length of a JSON header, the header, then the numbers.
function readSafetensors(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = 8 + Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
  delete header.__metadata__;
  return Object.fromEntries(Object.entries(header).map(([name, { dtype, shape, data_offsets: [from, to] }]) => {
    const copy = bytes.slice(start + from, start + to).buffer; // aligned
    return [name, new ort.Tensor(types[dtype], new arrays[dtype](copy), shape)];
  }));
}

// The examples at `indices` of nested lists, as one tensor.
function batchOf(examples, indices, type) {
  const chosen = indices.map((index) => examples[index]);
  const shape = [chosen.length];
  for (let item = chosen[0]; Array.isArray(item); item = item[0]) shape.push(item.length);
  const flat = chosen.flat(Infinity);
  return type === "int64"
    ? new ort.Tensor("int64", BigInt64Array.from(flat, BigInt), shape)
    : new ort.Tensor("float32", Float32Array.from(flat), shape);
}

ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(await readFile(stepFile));
const state = readSafetensors(new Uint8Array(await readFile(stepFile.replace(/\.onnx$/, ".safetensors"))));
const data = JSON.parse(await readFile(dataFile, "utf8"));
for (let step = 1; step <= 60; step++) {
  const indices = Array.from({ length: 10 }, (_, n) => (((step - 1) * 10 + n) * 7) % 150); // ten of the 150 digits
  const feeds = {
    ...state,
    image: batchOf(data.image, indices, "float32"),
    label: batchOf(data.label, indices, "int64"),
    step: new ort.Tensor("float32", [step], []),
    seed: new ort.Tensor("int64", [BigInt(step)], []),
  };
  const outputs = await session.run(Object.fromEntries(session.inputNames.map((name) => [name, feeds[name]])));
  for (const name of Object.keys(outputs)) {
    if (name.endsWith(".next")) state[name.slice(0, -5)] = outputs[name];
  }
  console.log(step, outputs.loss.data[0].toFixed(6));
}
