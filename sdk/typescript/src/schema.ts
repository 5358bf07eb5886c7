import { DeputyError } from "./errors.js";

/** The part of JSON Schema (2020-12) that describes a tool's input to a language model. */
export interface JSONSchema {
  type: "object" | "string" | "boolean" | "number" | "integer" | "array";
  description?: string;
  properties?: Record<string, JSONSchema>;
  required?: string[];
  items?: JSONSchema;
  additionalProperties?: false;
}

/** The shape of one argument: what a model is told of it, and what a value must be like. */
export interface Shape<T> {
  readonly schema: JSONSchema;
  readonly optional: boolean;
  /** Returns value as a T, or throws a {@link DeputyError} in words that help a model. path names the argument. */
  read(value: unknown, path: string): T;
}

/** What a shape's values are. */
export type ValueOf<S> = S extends Shape<infer T> ? T : never;

type Fields = Record<string, Shape<unknown>>;
type OptionalKeys<F extends Fields> = { [K in keyof F]: undefined extends ValueOf<F[K]> ? K : never }[keyof F];

/** What an {@link object} of these fields is. */
export type ObjectOf<F extends Fields> = { [K in Exclude<keyof F, OptionalKeys<F>>]: ValueOf<F[K]> } & {
  [K in OptionalKeys<F>]?: Exclude<ValueOf<F[K]>, undefined>;
};

function scalar<T>(type: JSONSchema["type"], description: string, is: (value: unknown) => value is T): Shape<T> {
  return {
    schema: description ? { type, description } : { type },
    optional: false,
    read(value, path) {
      if (!is(value)) throw invalid(`the argument "${path}" must be ${type === "integer" ? "an integer" : `a ${type}`}`);
      return value;
    },
  };
}

/** A text. */
export const string = (description = ""): Shape<string> => scalar("string", description, (v) => typeof v === "string");
/** True or false. */
export const boolean = (description = ""): Shape<boolean> => scalar("boolean", description, (v) => typeof v === "boolean");
/** A finite number. */
export const number = (description = ""): Shape<number> => scalar("number", description, (v): v is number => Number.isFinite(v));
/** An integer that a JavaScript number holds exactly. */
export const integer = (description = ""): Shape<number> => scalar("integer", description, (v): v is number => Number.isSafeInteger(v));

/** A list of values of one shape. */
export function array<T>(items: Shape<T>, description = ""): Shape<T[]> {
  return {
    schema: { type: "array", ...(description && { description }), items: items.schema },
    optional: false,
    read(value, path) {
      if (!Array.isArray(value)) throw invalid(`the argument "${path}" must be an array`);
      return value.map((item: unknown, i) => items.read(item, `${path}[${i}]`));
    },
  };
}

/** An argument that may be left out. */
export function optional<T>(shape: Shape<T>): Shape<T | undefined> {
  return {
    schema: shape.schema,
    optional: true,
    read: (value, path) => (value === undefined || value === null ? undefined : shape.read(value, path)),
  };
}

/** An object with these fields, and with no others. */
export function object<F extends Fields>(fields: F, description = ""): Shape<ObjectOf<F>> {
  const known = new Map(Object.entries(fields));
  const required = [...known].filter(([, shape]) => !shape.optional).map(([name]) => name);
  return {
    schema: {
      type: "object",
      ...(description && { description }),
      properties: Object.fromEntries([...known].map(([name, shape]) => [name, shape.schema])),
      ...(required.length > 0 && { required }),
      additionalProperties: false,
    },
    optional: false,
    read(value, path) {
      if (typeof value !== "object" || value === null || Array.isArray(value)) {
        throw invalid(path ? `the argument "${path}" must be an object` : "the arguments are not a JSON object");
      }
      const inside = (name: string): string => (path ? `${path}.${name}` : name);
      const given = new Map(Object.entries(value));
      for (const name of given.keys()) {
        if (!known.has(name)) throw invalid(`there is no argument "${inside(name).slice(0, 100)}"`);
      }
      const out: [string, unknown][] = [];
      for (const [name, shape] of known) {
        const v: unknown = given.get(name);
        if (!shape.optional && (v === undefined || v === null)) throw invalid(`the argument "${inside(name)}" is missing`);
        const got = shape.read(v, inside(name));
        if (got !== undefined) out.push([name, got]);
      }
      return Object.fromEntries(out) as ObjectOf<F>;
    },
  };
}

function invalid(message: string): DeputyError {
  return new DeputyError({ code: "tool_input_invalid", message, fix: "follow the tool's parameters" });
}
