"""Stand-ins until the runtime and the exporter land."""
from __future__ import annotations
import numpy as np, onnx
from onnx import helper, numpy_helper, TensorProto
from compiler.dims import Symbol, Dim, evaluate
from compiler.types import DType, TensorType
from compiler.operators.arithmetic import onnx_dtype
from compiler.operators.source import Input

def bind_sizes(graph, feeds):
    sizes = {}
    for name, value in graph.inputs.items():
        for size, real in zip(value.shape, feeds[name].shape):
            if isinstance(size, Dim) and len(size.terms) == 1 and size.terms[0][1] == 1 and len(size.terms[0][0]) == 1:
                atom, power = size.terms[0][0][0]
                if isinstance(atom, Symbol) and power == 1:
                    sizes[atom.name] = real
    return sizes

def run(graph, feeds):
    sizes = bind_sizes(graph, feeds)
    known = {}
    for name, value in graph.inputs.items():
        known[value] = feeds[name]
    for node in graph.nodes:
        if isinstance(node.op, Input):
            continue
        found = node.op.bind(sizes).compute(*(known[o] for o in node.operands))
        for value, array in zip(node.results, found if isinstance(found, tuple) else (found,)):
            assert isinstance(array, np.ndarray), (node.op, type(array))
            assert TensorType(DType.of(array), array.shape) == value.type.bind(sizes), (node.op, array.dtype, array.shape, value.type)
            known[value] = array
    return {name: known[value] for name, value in graph.outputs.items()}

class Writer:
    opset = 21
    def __init__(self): self.nodes=[]; self.inits=[]; self.types={}; self.count=0; self.symbols={}; self.arrays={}
    def fresh(self): self.count+=1; return f"v{self.count}"
    def operand(self, o):
        if o is None: return ""
        if isinstance(o,str): return o
        a=np.asarray(o); n=self.fresh(); self.inits.append(numpy_helper.from_array(a,n)); self.types[n]=TensorType(DType.of(a),a.shape); return n
    def many(self, results, kind, *operands, **attributes):
        names=tuple(self.fresh() for _ in range(results))
        self.nodes.append(helper.make_node(kind,[self.operand(o) for o in operands],list(names),**attributes)); return names
    def __call__(self, kind, *operands, **attributes): return self.many(1,kind,*operands,**attributes)[0]
    def type(self,name): return self.types[name]
    def sizes(self, sizes):
        if all(isinstance(s,int) for s in sizes): return self.operand(np.array(sizes,np.int64))
        return self("Concat",*(self.size(s) for s in sizes),axis=0)
    def size(self,s):
        if isinstance(s,int): return self.operand(np.array([s],np.int64))
        total=None
        for monomial,factor in s.terms:
            term=self.operand(np.array([factor],np.int64))
            for atom,power in monomial:
                for _ in range(power): term=self("Mul",term,self.atom(atom))
            total=term if total is None else self("Add",total,term)
        return total
    def atom(self,atom):
        if isinstance(atom,Symbol):
            name,axis=self.symbols[atom.name]
            return self("Gather",self("Shape",name),np.array([axis]),axis=0)
        return self("Div",self.size(atom.numerator),self.size(atom.denominator))

def info(name,type): return helper.make_tensor_value_info(name,onnx_dtype(type.dtype),[s if isinstance(s,int) else str(s) for s in type.shape])

def export(graph):
    w=Writer(); names={}; inputs=[]
    for name,value in graph.inputs.items():
        names[value]=name; w.types[name]=value.type; inputs.append(info(name,value.type))
        for axis,size in enumerate(value.shape):
            if isinstance(size,Dim) and len(size.terms)==1 and isinstance(size.terms[0][0][0][0],Symbol): w.symbols.setdefault(str(size),(name,axis))
    opset=17
    for node in graph.nodes:
        if isinstance(node.op,Input): continue
        opset=max(opset,node.op.opset)
        found=node.op.lower(w,*(names[o] for o in node.operands))
        for value,name in zip(node.results,found if isinstance(found,tuple) else (found,)):
            names[value]=name; w.types[name]=value.type
    outs=[]
    for name,value in graph.outputs.items():
        w.nodes.append(helper.make_node("Identity",[names[value]],[name])); outs.append(info(name,value.type))
    m=helper.make_model(helper.make_graph(w.nodes,"g",inputs,outs,w.inits),opset_imports=[helper.make_opsetid("",opset)],ir_version=10)
    return m
