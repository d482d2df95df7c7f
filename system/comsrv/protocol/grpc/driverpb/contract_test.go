package driverpb_test

import (
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol/grpc/driverpb"
)

func TestTheCodeWasGeneratedFromTheContract(t *testing.T) {
	t.Parallel()
	compiler := protocompile.Compiler{Resolver: &protocompile.SourceResolver{}}
	files, err := compiler.Compile(t.Context(), "driver.proto")
	if err != nil {
		t.Fatal(err)
	}
	contract, code := protodesc.ToFileDescriptorProto(files[0]), protodesc.ToFileDescriptorProto(driverpb.File_driver_proto)
	if difference := cmp.Diff(contract, code, protocmp.Transform()); difference != "" {
		t.Errorf("run go generate ./system/comsrv/protocol/grpc/driverpb: %s", difference)
	}
}
