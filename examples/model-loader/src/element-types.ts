/** Types of a tensor's elements: their bytes in the file, and the typed arrays that they are read as. */

const ARRAYS = {
  I8: Int8Array,
  I16: Int16Array,
  U16: Uint16Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I32: Int32Array,
  U32: Uint32Array,
  F32: Float32Array,
  C64: Float32Array,
  I64: BigInt64Array,
  U64: BigUint64Array,
  F64: Float64Array,
};
type TensorArray = (typeof ARRAYS)[keyof typeof ARRAYS] | typeof Uint8Array;

/** Elements of a tensor, on the memory that they were read into. */
export type TensorData = InstanceType<TensorArray>;

export interface ElementType {
  readonly name: string;
  /** Elements and bytes of a block, the least that can be stored: one element, but for quantised and tiny types. */
  readonly blockElements: number;
  readonly blockBytes: number;
  /** Uint8Array for quantised and tiny types, Uint16Array for F16 and BF16. */
  readonly array: TensorArray;
}

/** A type by its text, "name blockBytes blockElements": both are 1 by default. */
function typeOf(text: string): ElementType {
  const [name = "", bytes = 1, elements = 1] = text.split(" ");
  const array: TensorArray = (ARRAYS as Record<string, TensorArray>)[name] ?? Uint8Array;
  return { name, blockBytes: Number(bytes), blockElements: Number(elements), array };
}

const PLAIN = ["F64 8", "F32 4", "F16 2", "BF16 2", "I64 8", "I32 4", "I16 2", "I8"];
const SAFETENSORS_ONLY =
  "U64 8,U32 4,U16 2,U8,BOOL,C64 8,F8_E5M2,F8_E4M3,F8_E8M0,F8_E4M3FNUZ,F8_E5M2FNUZ,F4 1 2,F6_E2M3 3 4,F6_E3M2 3 4";

/** Types of safetensors, by name. */
export const SAFETENSORS_TYPES: ReadonlyMap<string, ElementType> = new Map(
  [...PLAIN, ...SAFETENSORS_ONLY.split(",")].map(typeOf).map((type) => [type.name, type]),
);

/** `enum ggml_type`: an empty text is a number that was taken out of the format. */
const GGML = [
  ...["F32 4", "F16 2", "Q4_0 18 32", "Q4_1 20 32", "", "", "Q5_0 22 32", "Q5_1 24 32", "Q8_0 34 32", "Q8_1 36 32"],
  ...["Q2_K 84 256", "Q3_K 110 256", "Q4_K 144 256", "Q5_K 176 256", "Q6_K 210 256", "Q8_K 292 256"],
  ...["IQ2_XXS 66 256", "IQ2_XS 74 256", "IQ3_XXS 98 256", "IQ1_S 50 256", "IQ4_NL 18 32", "IQ3_S 110 256"],
  ...["IQ2_S 82 256", "IQ4_XS 136 256", "I8", "I16 2", "I32 4", "I64 8", "F64 8", "IQ1_M 56 256", "BF16 2"],
  ...["", "", "", "TQ1_0 54 256", "TQ2_0 66 256", "", "", "", "MXFP4 17 32", "NVFP4 36 64"],
  ...["Q1_0 18 128", "Q2_0 18 64"],
];

/** Types of GGUF, by number. */
export const GGUF_TYPES: ReadonlyMap<number, ElementType> = new Map(
  GGML.flatMap((text, number) => (text === "" ? [] : [[number, typeOf(text)]])),
);
