//! The address of a visitor. It is told to the service, never dialled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::codec::{DecodeError, Reader, Writer};

const IPV4: u8 = 4;
const IPV6: u8 = 6;

/// An IPv4 address in its IPv6 form, as a listener on `[::]` sees it, is sent as IPv4: rules about addresses see one form.
pub(super) fn write(visitor: SocketAddr, writer: &mut Writer<'_>) {
    match visitor.ip().to_canonical() {
        IpAddr::V4(address) => {
            writer.u8(IPV4);
            writer.bytes(&address.octets());
        }
        IpAddr::V6(address) => {
            writer.u8(IPV6);
            writer.bytes(&address.octets());
        }
    }
    writer.u16(visitor.port());
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<SocketAddr, DecodeError> {
    let address: IpAddr = match reader.u8("visitor")? {
        IPV4 => Ipv4Addr::from(reader.array("visitor")?).into(),
        IPV6 => Ipv6Addr::from(reader.array("visitor")?).into(),
        _ => return Err(DecodeError::BadValue { field: "visitor" }),
    };
    if address.to_canonical() != address {
        return Err(DecodeError::BadValue { field: "visitor" });
    }
    Ok(SocketAddr::new(address, reader.u16("visitor")?))
}
